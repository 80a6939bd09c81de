"""The tutorial runs on every store, and its question is answered from the right passage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint, Message
from qwen3_rag_testkit.guides import Example, examples

ROOT = Path(__file__).parents[3]
RIGHT = "product_faq-5"
STORES = ("MilvusStore(", "QdrantStore(", "WeaviateStore(")


def read(messages: list[Message]) -> str:
    """Answer as a chat model would that finds the passage about storage in what it reads."""
    text = messages[-1]["content"]
    for number, passage in re.findall(r'<document number="(\d+)">\n(.*?)\n</document>', text, re.S):
        if passage.startswith("Where does Milvus store data?"):
            return f"{passage.splitlines()[2].strip()} [{number}]"
    return "Not found in the documents."


@pytest.fixture
def endpoint() -> Iterator[ChatEndpoint]:
    with ChatEndpoint(read) as endpoint:
        yield endpoint


def lines_for(store: str, endpoint: ChatEndpoint, replace: dict[str, str]) -> Iterator[Example]:
    """The page's examples with one store: the other two stores' are left out."""
    page = examples(
        ROOT / "docs" / "tutorial.md",
        {
            "examples/milvus_faq": (ROOT / "examples" / "milvus_faq").as_posix(),
            "http://localhost:8000/v1": endpoint.url,
            "Qwen/Qwen3-Embedding-0.6B": "tiny",
            "Qwen/Qwen3-Reranker-0.6B": "tiny",
            **replace,
        },
    )
    [chosen] = [example for example in page if store in example.code]
    for example in page:
        of_store = [name for name in STORES if name in example.code]
        if of_store == [STORES[0]]:  # where the page makes its store
            yield chosen
        elif not of_store:
            yield example


def run(
    store: str,
    endpoint: ChatEndpoint,
    capsys: pytest.CaptureFixture[str],
    replace: dict[str, str] | None = None,
) -> None:
    pytest.importorskip("torch", reason="the examples run the small pair")
    names: dict[str, Any] = {}
    for example in lines_for(store, endpoint, replace or {}):
        names = example.run(names or None)

    with closing(names["client"]), closing(names["searcher"]):
        assert names["searcher"].count() == 72
        assert RIGHT in [hit.id for hit in names["hits"]]
        [source] = names["found"].sources
        assert source.hit.id == RIGHT
        assert capsys.readouterr().out.splitlines()[-1] == (
            f"[{source.number}] product_faq.md  Where does Milvus store data?"
        )
        assert names["found"].text == (
            f"Milvus deals with two types of data, inserted data and metadata. [{source.number}]"
        )


def test_the_tutorial_answers_from_milvus(
    endpoint: ChatEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # for faq.db

    run("MilvusStore(", endpoint, capsys)


def test_the_tutorial_answers_from_qdrant(
    endpoint: ChatEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    run("QdrantStore(", endpoint, capsys)


def test_the_tutorial_answers_from_weaviate(
    endpoint: ChatEndpoint,
    weaviate_address: dict[str, Any],
    collection: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace = {"to_local()": f"to_local(**{weaviate_address!r})", '"Faq"': repr(collection)}

    run("WeaviateStore(", endpoint, capsys, replace)
