"""The examples of the README and of the guide run, with models that need no download."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import qwen3_rag_tiny
from qwen3_rag.cache import cache_info
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.guides import FRAMEWORK_HEADINGS, headings, run_examples
from qwen3_rag_testkit.served_models import served

PACKAGE = Path(__file__).parents[1]
README = PACKAGE / "README.md"
GUIDE = PACKAGE.parents[1] / "docs" / "langchain.md"

# LangChain says so of `loads` on every call.
pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples(README)

    assert "Paris is the capital of France." in capsys.readouterr().out


def test_the_guides_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = qwen3_rag_tiny.embedding_folder().as_posix()
    with ChatEndpoint() as endpoint, served("vllm") as urls:
        names = run_examples(
            GUIDE,
            {
                "http://localhost:8000/v1": endpoint.url,
                "http://localhost:8001": urls["embedding"],
                "http://localhost:8002": urls["reranking"],
                'from_pretrained("Qwen/Qwen3-Embedding-0.6B"': f'from_pretrained("{folder}"',
            },
        )

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Paris is the capital of France."
    assert re.fullmatch(r"2 0\.\d+", out[1])
    # The endpoint answers with what it was asked: the right text is in the chat model's context.
    [request] = endpoint.requests
    asked = request["messages"][-1]["content"]
    assert asked.startswith("Answer from this context only:\n\nE_4711 means that the disk is full.")
    assert asked.endswith("Question: What does E_4711 mean?")
    assert names["hybrid"].invoke("What does E_4711 mean?")[0].id == "1"
    assert names["found"][0].id == "1"
    both = out.index("['Paris is the capital of France.', 'The Rhine flows through Basel.']")
    assert out[both - 1] == "True"  # each document once
    assert out[-5:] == ["False", "E_4711 means that the disk is full.", "64 1.0", "True", "512"]
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path]
    assert {path.parent.name for path in kept} == {names["embeddings"].cache_namespace.rstrip("/")}
    assert names["answer"].metadata["relevance_score"] > 0.5
    assert cache_info("vectors.cache").entries == 1
    names["searcher"].close()
    names["store"].client.close()
    names["searcher"].store.client.close()


def test_the_guide_has_the_headings_of_every_framework() -> None:
    assert headings(GUIDE) == list(FRAMEWORK_HEADINGS)
