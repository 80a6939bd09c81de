"""The examples of the guide and of the README run as they stand, on the small trained pair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qwen3_rag.cache import cache_info
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.guides import FRAMEWORK_HEADINGS, headings, run_examples
from qwen3_rag_testkit.served_models import served

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "haystack.md"
README = PACKAGE / "README.md"


def test_the_guides_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with ChatEndpoint() as endpoint, served("vllm") as urls:
        addresses = {
            "http://localhost:8000/v1": endpoint.url,
            "http://localhost:8001": urls["embedding"],
            "http://localhost:8002": urls["reranking"],
        }
        names = run_examples(GUIDE, addresses)
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
    assert cache_info("vectors.cache").entries == 1
    names["pipeline"].close()
    names["indexing"].close()
    names["rag"].close()
    names["embedder"].close()


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples(README)

    assert capsys.readouterr().out.startswith("Paris is the capital of France. 0.")


def test_the_guide_has_the_headings_of_all_guides() -> None:
    assert headings(GUIDE) == list(FRAMEWORK_HEADINGS)
