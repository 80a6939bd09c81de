"""A native async client of Milvus finds the same, without threads and without blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import Hit, InputTypeError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.loops import keeps_ticking
from qwen3_rag_testkit.server_processes import MilvusLiteProcess
from qwen3_rag_testkit.store_async_contract import check_writing_and_reading
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus

QUERIES = [f"{CAPITAL} {n}" for n in range(200)]
FILTER = 'payload["path"] == "a.md"'


@pytest.fixture(params=["server", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of Milvus Lite, in a process of its own or in this one."""
    if request.param == "server":
        with MilvusLiteProcess() as server:
            yield f"http://127.0.0.1:{server.port}"
    else:
        path = str(tmp_path / "milvus.db")
        yield path
        lite.server_manager_instance.release_server(path)


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with closing(pymilvus.MilvusClient(address)) as client:
        yield client


@pytest.mark.parametrize(
    ("tenant", "short_dim"), [(None, None), (None, 32), ("acme", None), ("acme", 32)]
)
def test_two_hundred_searches_at_once_find_the_same_without_threads(
    client: Any, address: str, tenant: str | None, short_dim: int | None
) -> None:
    blocking = HybridSearcher(MilvusStore(client, "documents"), make_embedder())
    blocking.create(fields=FIELDS, tenants=tenant is not None, short_dim=short_dim)
    blocking.add(DOCUMENTS, tenant=tenant)
    if tenant is not None:
        blocking.add([Document("theirs", CAPITAL, {"path": "a.md"})], tenant="globex")
    expected = [blocking.search(query, filter=FILTER, tenant=tenant) for query in QUERIES]

    async def everything() -> tuple[list[list[Hit]], list[str]]:
        before = {*threading.enumerate()}
        async_client = pymilvus.AsyncMilvusClient(address)
        store = MilvusStore(client, "documents", async_client=async_client)
        searcher = HybridSearcher(store, make_embedder())
        asking = (searcher.asearch(query, filter=FILTER, tenant=tenant) for query in QUERIES)
        hits = await keeps_ticking(asyncio.gather(*asking))
        await async_client.close()
        names = [each.name for each in {*threading.enumerate()} - before]
        return hits, [name for name in names if name.startswith("qwen3-rag-hybrid")]

    found, threads = asyncio.run(everything())

    assert found == expected
    assert threads == []


def test_writing_and_reading_with_an_async_client(client: Any, address: str) -> None:
    async def everything() -> None:
        async_client = pymilvus.AsyncMilvusClient(address)
        store = MilvusStore(client, "documents", async_client=async_client)
        await check_writing_and_reading(
            store, lambda: asyncio.to_thread(client.drop_collection, "documents")
        )
        await async_client.close()

    asyncio.run(everything())


def test_the_collection_of_a_framework_is_searched_by_an_async_client(
    client: Any, address: str
) -> None:
    async def search() -> list[Hit]:
        async_client = pymilvus.AsyncMilvusClient(address)
        store = MilvusStore(client, "documents", async_client=async_client, layout="langchain")
        hits = await HybridSearcher(store, make_embedder()).asearch("E_4711")
        await async_client.close()
        return hits

    searcher = HybridSearcher(MilvusStore(client, "documents", layout="langchain"), make_embedder())
    searcher.create()
    searcher.add([Document(str(one.id), one.text, one.payload) for one in DOCUMENTS])

    hits = asyncio.run(search())

    assert hits == searcher.search("E_4711")
    assert hits[0].ranks["bm25"].rank == 1


def test_a_server_that_is_gone_is_a_store_error(tmp_path: Path) -> None:
    with MilvusLiteProcess() as server:
        url = f"http://127.0.0.1:{server.port}"
        client = pymilvus.MilvusClient(url)
        searcher = HybridSearcher(MilvusStore(client, "documents"), make_embedder())
        searcher.create()
        searcher.add(DOCUMENTS)

        async def search() -> None:
            async_client = pymilvus.AsyncMilvusClient(url, timeout=2)
            store = MilvusStore(client, "documents", async_client=async_client)
            searching = HybridSearcher(store, make_embedder())
            await searching.asearch(CAPITAL)
            server.kill()
            with pytest.raises(StoreError, match="Searching the collection 'documents' failed"):
                await searching.asearch(CAPITAL)
            await async_client.close()

        asyncio.run(search())
        client.close()


def test_a_blocking_client_is_not_taken_for_an_async_one(client: Any) -> None:
    with pytest.raises(InputTypeError, match=r"`async_client` must be .*AsyncMilvusClient, got"):
        MilvusStore(client, "documents", async_client=client)
