"""This project's own repository, as somebody has it who works on it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.files import find
from qwen3_rag_cli.places import Base

ROOT = Path(__file__).resolve().parents[3]

# Questions, and files that answer them.
QUESTIONS = {
    "How do I report a vulnerability?": {"SECURITY.md"},
    "What happens when an index run is killed?": {"docs/command-line.md"},
    "How do I run the tests before I send a change?": {"CONTRIBUTING.md", "Makefile"},
    "How do I use the reranker in LlamaIndex?": {"docs/llama-index.md"},
    "How do I watch a folder and index files when they change?": {"docs/command-line.md"},
    "How are the dense and the BM25 ranking fused?": {"docs/hybrid.md"},
    "How do I install torch without CUDA?": {"README.md", "docs/getting-started.md"},
    "Which exit code means that the model is missing or damaged?": {"docs/command-line.md"},
    "How are rows of a CSV file read?": {"packages/cli/src/qwen3_rag_cli/reading/delimited.py"},
    "How do I merge checkpoints by SLERP?": {"docs/training.md"},
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what git would commit, with a virtual environment and build folders."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not in a repository of git")
    copy = tmp_path / "repository"
    for name in listed(ROOT):
        if (ROOT / name).is_file():  # not one that was deleted, and not committed yet
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    subprocess.run(["git", "init", "-q", str(copy)], check=True)
    for name in (".venv/lib/a.py", "build/light/lib/b.py", "packages/cli/dist/c.md"):
        (copy / name).parent.mkdir(parents=True)
        (copy / name).write_text("text\n")
    return copy


def listed(folder: Path) -> set[str]:
    command = ["git", "-C", str(folder), "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    return {name for name in said.decode().split("\0") if name}


def test_only_what_git_would_commit_is_taken(repository: Path) -> None:
    taken = {file.key for file in find([repository], base=Base(repository)).files}

    assert taken <= listed(repository)
    visible = {name for name in listed(repository) if not name.startswith(".")}
    assert {name for name in visible if name.endswith((".md", ".py", ".toml"))} <= taken


@pytest.mark.slow
def test_questions_about_it_are_answered_in_the_first_three_hits(
    cli: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    cli.index(".", "--model", "tiny")

    found = {
        question: [hit["path"] for hit in cli.hits(question, repository / ".qwen3-rag")[:3]]
        for question in QUESTIONS
    }

    missed = {q: paths for q, paths in found.items() if not QUESTIONS[q] & set(paths)}
    assert len(missed) <= 2, missed
