"""The examples of the README and of the guide run, with the small pair and a chat model here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_rag.cache import cache_info
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.guides import FRAMEWORK_HEADINGS, headings, run_examples
from qwen3_rag_testkit.served_models import served

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "llama-index.md"


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """LlamaIndex's blocking methods take the thread's event loop, or leave a new one open."""
    with asyncio.Runner() as runner:
        runner.get_loop()
        yield


def test_the_readme_s_example_answers() -> None:
    names = run_examples(PACKAGE / "README.md")

    assert "Paris is the capital of France." in str(names["answer"])


def test_the_guide_s_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with ChatEndpoint() as endpoint, served("vllm") as urls:
        addresses = {
            "http://localhost:8000/v1": endpoint.url,
            "http://localhost:8001": urls["embedding"],
            "http://localhost:8002": urls["reranking"],
        }
        names = run_examples(GUIDE, addresses)
        [request] = endpoint.requests

    assert names["best"].text == "Paris is the capital of France."
    assert "E_4711" in request["messages"][-1]["content"]
    assert "Bread" not in request["messages"][-1]["content"]
    [found] = names["nodes"]
    assert names["queries"][-1][0].id == found.node_id
    assert names["queries"][-1][0].ranks["bm25"].rank == 1
    assert {names["first"].node_id, names["second"].node_id} <= {
        document.doc_id for document in names["documents"]
    }
    printed = capsys.readouterr().out
    assert "Paris is the capital of France." in printed
    assert "256" in printed
    assert names["found"][0].score > 0.5
    assert cache_info("vectors.cache").entries == 1
    names["searcher"].close()
    names["client"].close()


def test_the_guide_has_the_headings_of_all_guides() -> None:
    assert headings(GUIDE) == list(FRAMEWORK_HEADINGS)
