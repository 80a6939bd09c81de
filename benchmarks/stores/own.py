"""`HybridSearcher` over the collections that the frameworks' classes made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.stores import milvus, qdrant, weaviate
from benchmarks.stores.checks import FEW, Side
from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import HybridSearcher, Store, renew_bm25
from qwen3_rag_testkit.backends import TextBackend

__all__ = ["DIM", "embedder", "opened"]

DIM = 256


def embedder() -> Qwen3Embedder:
    """Make an embedder that needs no model; texts that share words have similar vectors."""
    return Qwen3Embedder("benchmark/embedder", backend=TextBackend("embedding", DIM))


@contextmanager
def opened(store: str, framework: str, place: str) -> Iterator[Side]:
    """Open a collection, take it over, and give it BM25 terms where that can be done."""
    with _STORES[store](place, framework.replace("_", "-")) as found:
        HybridSearcher(found, embedder()).create(adopt=True)
        if store == "qdrant":
            renew_bm25(found)
        yield _Own(HybridSearcher(found, embedder()))


class _Own:
    packages: Sequence[str] = ("qwen3-rag-hybrid",)

    def __init__(self, searcher: HybridSearcher) -> None:
        self._searcher = searcher

    def search(self, query: str, limit: int) -> list[str]:
        return [hit.text for hit in self._searcher.search(query, limit=limit)]

    def page(self, query: str, offset: int, limit: int) -> list[str]:
        return [hit.text for hit in self._searcher.search(query, offset=offset, limit=limit)]

    def words(self, query: str) -> list[str]:
        hits = self._searcher.search(query, limit=200)
        return [hit.text for hit in hits if "bm25" in hit.ranks]

    def nearest(self, query: str) -> list[str]:
        hits = [hit for hit in self._searcher.search(query, limit=200) if "dense" in hit.ranks]
        return [hit.text for hit in sorted(hits, key=lambda hit: hit.ranks["dense"].rank)[:FEW]]

    def score(self, query: str) -> float:
        hits = self._searcher.search(query, limit=200)
        return max(hit.ranks["dense"].score for hit in hits if "dense" in hit.ranks)


@contextmanager
def _qdrant(place: str, layout: str) -> Iterator[Store]:
    from qdrant_client import QdrantClient

    from qwen3_rag_hybrid import QdrantStore

    client = QdrantClient(path=place)
    yield QdrantStore(client, qdrant.NAME, layout=layout)
    client.close()


@contextmanager
def _weaviate(place: str, layout: str) -> Iterator[Store]:
    from weaviate import connect_to_local

    from qwen3_rag_hybrid import WeaviateStore

    host, port, grpc_port, name = weaviate.parts(place)
    with connect_to_local(host=host, port=port, grpc_port=grpc_port) as client:
        yield WeaviateStore(client, name, layout=layout)
        client.collections.delete(name)


@contextmanager
def _milvus(place: str, layout: str) -> Iterator[Store]:
    from pymilvus import MilvusClient

    from qwen3_rag_hybrid import MilvusStore

    client = MilvusClient(place)
    yield MilvusStore(client, milvus.NAME, layout=layout)
    client.close()


_STORES: dict[str, Callable[[str, str], Any]] = {
    "qdrant": _qdrant,
    "weaviate": _weaviate,
    "milvus": _milvus,
}
