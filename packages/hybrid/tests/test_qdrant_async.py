"""A native async client of Qdrant finds the same, without threads and without blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag import Hit, InputError, InputTypeError
from qwen3_rag_hybrid import HybridSearcher, QdrantStore
from qwen3_rag_testkit.loops import keeps_ticking
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.store_async_contract import check_writing_and_reading
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

QUERIES = [f"{CAPITAL} {n}" for n in range(200)]
MATCH = models.MatchValue(value="a.md")
FILTER = models.Filter(must=[models.FieldCondition(key="path", match=MATCH)])


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


@pytest.fixture
def client(server: QdrantServer) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def filled(client: QdrantClient) -> HybridSearcher:
    searcher = HybridSearcher(QdrantStore(client, "documents"), make_embedder())
    searcher.create(fields=FIELDS)
    searcher.add(DOCUMENTS)
    return searcher


def test_two_hundred_searches_are_at_the_server_at_once(
    server: QdrantServer, client: QdrantClient, filled: HybridSearcher
) -> None:
    expected = [filled.search(query, filter=FILTER) for query in QUERIES]
    all_there = threading.Barrier(len(QUERIES))

    def wait(request: str) -> None:
        if request.endswith("/query/batch"):
            all_there.wait(timeout=60)  # broken if one search waits for another

    async def everything() -> tuple[list[list[Hit]], list[str]]:
        async_client = AsyncQdrantClient(url=server.url, timeout=90, check_compatibility=False)
        store = QdrantStore(client, "documents", async_client=async_client)
        searcher = HybridSearcher(store, make_embedder())
        hits = await keeps_ticking(
            asyncio.gather(*(searcher.asearch(query, filter=FILTER) for query in QUERIES))
        )
        names = [thread.name for thread in threading.enumerate()]
        await async_client.close()
        return hits, [name for name in names if name.startswith("qwen3-rag-hybrid")]

    server.on_request = wait
    found, threads = asyncio.run(everything())

    assert found == expected
    assert threads == []


def test_writing_and_reading_with_an_async_client(
    server: QdrantServer, client: QdrantClient
) -> None:
    async def everything() -> None:
        async_client = AsyncQdrantClient(url=server.url, check_compatibility=False)
        store = QdrantStore(client, "documents", async_client=async_client)

        async def drop() -> None:
            await async_client.delete_collection("documents")

        await check_writing_and_reading(store, drop)
        await async_client.close()

    asyncio.run(everything())


def test_a_client_of_the_other_kind_is_refused(client: QdrantClient) -> None:
    async_client = AsyncQdrantClient(url="http://127.0.0.1:1", check_compatibility=False)

    with pytest.raises(InputTypeError, match=r"must be a qdrant_client.QdrantClient, got Async"):
        QdrantStore(async_client, "mine")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InputTypeError, match=r"`async_client` must be .*AsyncQdrantClient, got Q"):
        QdrantStore(client, "mine", async_client=client)  # type: ignore[arg-type]
    asyncio.run(async_client.close())


def test_an_async_client_in_local_mode_is_refused(client: QdrantClient) -> None:
    local, async_local = QdrantClient(":memory:"), AsyncQdrantClient(":memory:")
    async_client = AsyncQdrantClient(url="http://127.0.0.1:1", check_compatibility=False)

    with pytest.raises(InputError, match=r"`async_client` is in local mode, .*Leave `async_client"):
        QdrantStore(client, "mine", async_client=async_local)
    with pytest.raises(InputError, match=r"`client` is in local mode"):
        QdrantStore(local, "mine", async_client=async_client)
    asyncio.run(async_local.close())
    asyncio.run(async_client.close())
    local.close()
