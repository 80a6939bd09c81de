"""The examples of the guide and of the README run as they stand, on the small trained pair."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "haystack.md"
README = PACKAGE / "README.md"

HEADINGS = [
    "Install",
    "Five-line start",
    "Swap into an existing pipeline",
    "Full RAG pipeline",
    "Async",
    "Instructions",
    "MRL and storage",
    "Serialisation",
    "Troubleshooting",
]


def execute(page: Path, url: str) -> dict[str, Any]:
    """Run a page's examples one after the other, with models and an endpoint that are here."""
    text = re.sub(r"Qwen/Qwen3-\w+-0\.6B", "tiny", page.read_text(encoding="utf-8"))
    text = text.replace("http://localhost:8000/v1", url)
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(example, page.name, "exec"), names)
    return names


def test_the_guides_examples_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with ChatEndpoint() as endpoint:
        names = execute(GUIDE, endpoint.url)
        [request] = endpoint.requests

    shown = capsys.readouterr().out
    prompt = request["messages"][-1]["content"]
    assert prompt.startswith(
        "Answer from these passages alone:\n\nParis is the capital of France.\n"
    )
    assert prompt.endswith("Question: What is the capital of France?")
    assert prompt in shown  # the endpoint answers with the prompt
    assert shown.count("Paris is the capital of France.\n") == 4
    assert re.search(r"lexical  rank 1 .*\n.*\nrerank   rank 1 ", shown)
    names["pipeline"].close()
    names["indexing"].close()
    names["rag"].close()
    names["door"].close()


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    execute(README, "")

    assert capsys.readouterr().out.startswith("Paris is the capital of France. 0.")


def test_the_guide_has_the_headings_of_all_guides() -> None:
    text = re.sub(r"```.*?```", "", GUIDE.read_text(encoding="utf-8"), flags=re.S)

    assert re.findall(r"^## (.+)$", text, re.M) == HEADINGS
