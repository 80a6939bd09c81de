"""The examples of the guide and of the README run as they stand, on the small trained pair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.guides import FRAMEWORK_HEADINGS, headings, run_examples

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "haystack.md"
README = PACKAGE / "README.md"


def test_the_guides_examples_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with ChatEndpoint() as endpoint:
        names = run_examples(GUIDE, {"http://localhost:8000/v1": endpoint.url})
        [request] = endpoint.requests

    shown = capsys.readouterr().out
    prompt = request["messages"][-1]["content"]
    assert prompt.startswith(
        "Answer from these passages alone:\n\nParis is the capital of France.\n"
    )
    assert prompt.endswith("Question: What is the capital of France?")
    assert prompt in shown  # the endpoint answers with the prompt
    assert shown.count("Paris is the capital of France.\n") == 4
    assert re.search(r"bm25     rank 1 .*\n.*\nrerank   rank 1 ", shown)
    names["pipeline"].close()
    names["indexing"].close()
    names["rag"].close()
    names["embedder"].close()


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples(README)

    assert capsys.readouterr().out.startswith("Paris is the capital of France. 0.")


def test_the_guide_has_the_headings_of_all_guides() -> None:
    assert headings(GUIDE) == list(FRAMEWORK_HEADINGS)
