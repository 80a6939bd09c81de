"""The examples of the README and of the guide run, with models that need no download."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import qwen3_rag_tiny
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint

PACKAGE = Path(__file__).parents[1]
README = PACKAGE / "README.md"
GUIDE = PACKAGE.parents[1] / "docs" / "langchain.md"
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

# LangChain says so of `loads` on every call.
pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")


def run(page: Path, url: str = "") -> dict[str, Any]:
    """Run a page's examples one after the other, `tiny` in place of the published models."""
    text = page.read_text(encoding="utf-8")
    folder = qwen3_rag_tiny.embedding_folder().as_posix()
    text = re.sub(r'(from_pretrained\()"Qwen/[^"]*"', rf'\1"{folder}"', text)
    text = re.sub(r'"Qwen/Qwen3-(Embedding|Reranker)-0.6B"', '"tiny"', text)
    text = text.replace("http://localhost:8000/v1", url)
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert examples
    for example in examples:
        exec(compile(example, page.name, "exec"), names)
    return names


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run(README)

    assert "Paris is the capital of France." in capsys.readouterr().out


def test_the_guides_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with ChatEndpoint() as endpoint:
        names = run(GUIDE, endpoint.url)

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Paris is the capital of France."
    assert re.fullmatch(r"2 0\.\d+", out[1])
    # The endpoint answers with what it was asked: the right text is in the chat model's context.
    [request] = endpoint.requests
    asked = request["messages"][-1]["content"]
    assert asked.startswith("Answer from this context only:\n\nE_4711 means that the disk is full.")
    assert asked.endswith("Question: What does E_4711 mean?")
    assert names["hybrid"].invoke("What does E_4711 mean?")[0].id == "1"
    assert "['Paris is the capital of France.', 'The Rhine flows through Basel.']" in out
    assert out[-5:] == ["False", "E_4711 means that the disk is full.", "64 1.0", "True", "512"]
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} == {
        names["embeddings"].cache_namespace.rstrip("/")
    }
    names["searcher"].close()
    names["store"].client.close()
    names["searcher"].legs.client.close()


def test_the_guide_has_the_headings_of_all_three() -> None:
    assert re.findall(r"^## (.*)$", GUIDE.read_text(encoding="utf-8"), re.M) == HEADINGS
