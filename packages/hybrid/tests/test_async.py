"""200 searches on one event loop: at a server all at once, in this process without blocking it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from qwen3_rag import Hit
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore, Store
from qwen3_rag_testkit.loops import longest_gap
from qwen3_rag_testkit.store_corpus import make_embedder

# Of different lengths, so that few hits tie.
DOCUMENTS = [
    Document(n, f"report {n} on the harbour of district {n % 40}" + " and more" * (n % 97))
    for n in range(200)
]
QUERIES = [f"the harbour of district {n}" for n in range(200)]


@pytest.fixture
def milvus_lite(tmp_path: Path) -> Iterator[Store]:
    pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    from qwen3_rag_hybrid import MilvusStore

    path = str(tmp_path / "milvus.db")
    client = pymilvus.MilvusClient(path)
    yield MilvusStore(client, "documents")
    client.close()
    lite.server_manager_instance.release_server(path)


def test_searches_in_milvus_lite_leave_the_loop_free(milvus_lite: Store) -> None:
    with HybridSearcher(milvus_lite, make_embedder()) as searcher:
        searcher.create()
        searcher.add(DOCUMENTS)
        expected = [searcher.search(query) for query in QUERIES]

        found, gap = asyncio.run(at_once(searcher))

    assert found == expected
    # Run on the loop, they would block it nearly all the time.
    assert gap < 0.8


async def at_once(searcher: HybridSearcher) -> tuple[list[list[Hit]], float]:
    """Start all searches, and return the longest gap as a share of the time that they took."""
    start = time.perf_counter()
    async with longest_gap() as gap:
        found = await asyncio.gather(*map(searcher.asearch, QUERIES))
    return found, gap.seconds / (time.perf_counter() - start)


@pytest.mark.docker
def test_searches_at_a_qdrant_server_do_not_wait_for_each_other(
    qdrant_address: dict[str, Any], qdrant_collection: str
) -> None:
    client = QdrantClient(**qdrant_address)
    blocking = HybridSearcher(QdrantStore(client, qdrant_collection), make_embedder())
    blocking.create()
    blocking.add(DOCUMENTS)
    expected = [[hit.id for hit in blocking.search(query)] for query in QUERIES]

    async def everything() -> tuple[list[list[Hit]], float, int, list[str]]:
        # By REST there is a connection for each request, and a server gives up on one that a busy
        # machine takes too long to send.
        async_client = AsyncQdrantClient(**qdrant_address, prefer_grpc=True, timeout=90)
        sent = Pending(async_client.query_batch_points)
        async_client.query_batch_points = sent  # type: ignore[method-assign]
        store = QdrantStore(client, qdrant_collection, async_client=async_client)
        searcher = HybridSearcher(store, make_embedder())
        found, gap = await at_once(searcher)
        names = [thread.name for thread in threading.enumerate()]
        await async_client.close()
        own = [name for name in names if name.startswith("qwen3-rag-hybrid")]
        return found, gap, sent.most, own

    found, gap, most_waiting, threads = asyncio.run(everything())

    assert [[hit.id for hit in hits] for hits in found] == expected
    assert gap < 0.8
    assert most_waiting > 10  # not one by one; the first are answered before the last are sent
    assert threads == []
    client.close()


class Pending:
    """Counts how many calls of a method are waiting for an answer."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self._count = 0
        self.most = 0

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._count += 1
        self.most = max(self.most, self._count)
        try:
            return await self._method(*args, **kwargs)
        finally:
            self._count -= 1
