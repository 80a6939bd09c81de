"""Payloads in collections of frameworks come back as given, or are refused before writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest
from qdrant_client import QdrantClient

from qwen3_rag import InputError
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore, Store
from qwen3_rag_testkit.store_corpus import make_embedder

PAYLOADS: list[dict[str, Any]] = [
    *({"": 1, "with space": 2, "a.b": 3}, {"größe": 1}, {"Upper": 1}, {"n": 2**53 + 1}),
    *({"id": "x"}, {"pk": "x"}, {"vector": [1]}, {"sparse": "x"}, {"score": 1.5}, {"_id": "x"}),
    *({"text": "x"}, {"content": "x"}, {"page_content": "x"}, {"doc_id": "x"}),
    *({"metadata": "x"}, {"_node_content": "{}"}, {"tenant": "x", "_tenant": "y"}),
]
IDS = [str(uuid5(NAMESPACE_URL, str(number))) for number in range(len(PAYLOADS))]


@pytest.fixture(params=["qdrant", "milvus", "weaviate"])
def over(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Opens a new collection of a store by its layout."""
    with ExitStack() as stack:
        if request.param == "qdrant":
            client = stack.enter_context(closing(QdrantClient(":memory:")))
            yield lambda layout: QdrantStore(client, "documents", layout=layout)
        elif request.param == "milvus":
            pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
            lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
            from qwen3_rag_hybrid import MilvusStore

            path = str(tmp_path / "milvus.db")
            stack.callback(lite.server_manager_instance.release_server, path)
            milvus = stack.enter_context(closing(pymilvus.MilvusClient(path)))
            yield lambda layout: MilvusStore(milvus, "documents", layout=layout)
        else:
            from qwen3_rag_hybrid import WeaviateStore

            weaviate = request.getfixturevalue("weaviate_client")
            name = f"Test_{uuid4().hex}"
            stack.callback(weaviate.collections.delete, name)
            yield lambda layout: WeaviateStore(weaviate, name, layout=layout)


@pytest.mark.parametrize("layout", ["langchain", "llama-index", "haystack"])
def test_payloads_come_back_or_are_refused(over: Callable[[str], Store], layout: str) -> None:
    searcher = HybridSearcher(over(layout), make_embedder())
    searcher.create()
    expected = {}
    for id_, payload in zip(IDS, PAYLOADS, strict=True):
        with suppress(InputError):
            searcher.add([Document(id_, "bread", payload)])
            expected[id_] = payload

    assert len(expected) >= 8
    assert {
        id_: point.document.payload for id_, point in searcher.retrieve(IDS).items()
    } == expected
    assert {point.document.id: point.document.payload for point in searcher.scan()} == expected
    hits = searcher.search("bread", limit=len(PAYLOADS))
    assert {hit.id: hit.payload for hit in hits} == expected
