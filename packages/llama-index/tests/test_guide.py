"""The examples of the README and of the guide run, with the small pair and a chat model here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "llama-index.md"

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


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """LlamaIndex's blocking methods take the thread's event loop, or leave a new one open."""
    with asyncio.Runner() as runner:
        runner.get_loop()
        yield


def run(text: Path, chat: str = "") -> dict[str, Any]:
    names: dict[str, Any] = {}
    source = text.read_text(encoding="utf-8")
    source = re.sub(r"Qwen/Qwen3-(Embedding|Reranker)-0\.6B", "tiny", source)
    source = source.replace("http://localhost:8000/v1", chat)
    for example in re.findall(r"```python\n(.*?)```", source, re.S):
        exec(compile(example, text.name, "exec"), names)
    return names


def test_the_readme_s_example_answers() -> None:
    assert "Paris is the capital of France." in str(run(PACKAGE / "README.md")["answer"])


def test_the_guide_s_examples_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    with ChatEndpoint() as endpoint:
        names = run(GUIDE, endpoint.url)
        [request] = endpoint.requests

    assert names["best"].text == "Paris is the capital of France."
    assert "E_4711" in request["messages"][-1]["content"]
    assert "Bread" not in request["messages"][-1]["content"]
    assert names["found"].metadata["search_ranks"]["lexical"]["rank"] == 1
    assert {names["first"].node_id, names["second"].node_id} <= {
        document.doc_id for document in names["documents"]
    }
    printed = capsys.readouterr().out
    assert "Paris is the capital of France." in printed
    assert "256" in printed
    names["searcher"].close()
    names["client"].close()


def test_the_guide_has_the_headings_of_all_guides() -> None:
    found = re.findall(r"^## (.+)$", GUIDE.read_text(encoding="utf-8"), re.M)

    assert found == HEADINGS
