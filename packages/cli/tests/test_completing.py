"""What shells complete, by the protocol of typer's scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.completing import EMBEDDERS, RERANKERS

# As `main` names itself, which the scripts of the shells call.
PROGRAM = "from qwen3_rag_cli.app import main\nmain()\n"


def _complete(shell: str, *words: str) -> str:
    line = " ".join(["qwen3-rag", *words])
    variables = {
        "_QWEN3_RAG_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_models_are_completed(shell: str) -> None:
    assert "search" in _complete(shell, "se")
    assert "--rerank" in _complete(shell, "search", "x", "--re")
    models = _complete(shell, "index", ".", "--model", "Qwen/")
    assert "Qwen/Qwen3-Embedding-4B" in models
    assert "Reranker" not in models


def test_where_no_value_fits_the_shell_completes_paths() -> None:
    assert _complete("bash", "index", ".", "--model", "./").strip() == ""
    assert _complete("zsh", "index", "no").strip() == "_files"


def test_completing_loads_neither_torch_nor_the_core() -> None:
    code = (
        "import os, sys\n"
        "os.environ.update(_QWEN3_RAG_COMPLETE='complete_bash', COMP_CWORD='4',\n"
        "    COMP_WORDS='qwen3-rag index . --model Q')\n"
        "from qwen3_rag_cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'qwen3_rag', 'rich.console'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.splitlines() == [*EMBEDDERS[1:], "[]"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_for_bash_completes_in_bash(cli: Any, tmp_path: Path) -> None:
    program = tmp_path / "qwen3-rag"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}", encoding="utf-8")
    program.chmod(0o755)
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [program, "--show-completion", "bash"], capture_output=True, text=True, env=env
    ).stdout
    asking = (
        "COMP_WORDS=(qwen3-rag doctor --dtype f)\nCOMP_CWORD=3\n"
        '_qwen3_rag_completion qwen3-rag\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )

    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{asking}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )

    assert done.stdout.splitlines() == ["float32", "float16"]


def test_the_completed_models_are_the_published_ones() -> None:
    from qwen3_rag.integration import PUBLISHED

    for names, role in ((EMBEDDERS, "embedding"), (RERANKERS, "reranking")):
        assert set(names[1:]) == {one.name for one in PUBLISHED.values() if one.role == role}
