"""A native async client of Weaviate finds the same, without threads and without blocking."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import weaviate
from weaviate import WeaviateAsyncClient, WeaviateClient
from weaviate.classes.query import Filter
from weaviate.connect import ConnectionParams

from qwen3_rag import Hit, InputTypeError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, WeaviateStore
from qwen3_rag_testkit.loops import keeps_ticking
from qwen3_rag_testkit.store_async_contract import check_writing_and_reading
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

QUERIES = [f"{CAPITAL} {n}" for n in range(200)]


def test_two_hundred_searches_at_once_find_the_same_without_threads(
    weaviate_client: WeaviateClient, weaviate_address: dict[str, Any], collection: str
) -> None:
    blocking = HybridSearcher(WeaviateStore(weaviate_client, collection), make_embedder())
    blocking.create(fields=FIELDS)
    blocking.add(DOCUMENTS)
    filter = Filter.by_property("path").equal("a.md")
    expected = [blocking.search(query, filter=filter) for query in QUERIES]

    async def everything() -> tuple[list[list[Hit]], list[str]]:
        before = {*threading.enumerate()}
        async with weaviate.use_async_with_local(**weaviate_address) as client:
            store = WeaviateStore(weaviate_client, collection, async_client=client)
            searcher = HybridSearcher(store, make_embedder())
            asking = (searcher.asearch(query, filter=filter) for query in QUERIES)
            hits = await keeps_ticking(asyncio.gather(*asking))
            names = [each.name for each in {*threading.enumerate()} - before]
            return hits, [name for name in names if name.startswith("qwen3-rag-hybrid")]

    found, threads = asyncio.run(everything())

    assert found == expected
    assert threads == []


def test_writing_and_reading_with_an_async_client(
    weaviate_client: WeaviateClient, weaviate_address: dict[str, Any], collection: str
) -> None:
    async def everything() -> None:
        async with weaviate.use_async_with_local(**weaviate_address) as client:
            store = WeaviateStore(weaviate_client, collection, async_client=client)
            await check_writing_and_reading(store, lambda: client.collections.delete(collection))

    asyncio.run(everything())


def test_an_async_client_that_is_not_connected_is_a_store_error(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    parameters = ConnectionParams.from_params("127.0.0.1", 9, False, "127.0.0.1", 7, False)
    client = WeaviateAsyncClient(parameters)
    store = WeaviateStore(weaviate_client, collection, async_client=client)
    searcher = HybridSearcher(store, make_embedder())
    searcher.create()
    searcher.add([Document("a", "text")])

    with pytest.raises(StoreError, match=r"Searching .* failed: WeaviateClosedClientError"):
        asyncio.run(searcher.asearch("text"))


def test_a_blocking_client_is_not_taken_for_an_async_one() -> None:
    parameters = ConnectionParams.from_params("127.0.0.1", 9, False, "127.0.0.1", 7, False)
    client = WeaviateClient(parameters)

    with pytest.raises(InputTypeError, match=r"`async_client` must be .*WeaviateAsyncClient, got"):
        WeaviateStore(client, "Documents", async_client=client)  # type: ignore[arg-type]
