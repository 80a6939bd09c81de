"""What only a Qdrant server does: many searches at once over gRPC, keys, limits of its operator."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag import Hit, InputError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_testkit.loops import keeps_ticking
from qwen3_rag_testkit.server_processes import QdrantProcess
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

pytestmark = [
    pytest.mark.docker,
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
]

QUERIES = [f"{CAPITAL} {n}" for n in range(200)]
MATCH = models.MatchValue(value="a.md")
FILTER = models.Filter(must=[models.FieldCondition(key="path", match=MATCH)])


@pytest.fixture
def client(qdrant_address: dict[str, Any]) -> Iterator[QdrantClient]:
    client = QdrantClient(**qdrant_address)
    yield client
    client.close()


@pytest.fixture
def filled(client: QdrantClient, qdrant_collection: str) -> HybridSearcher:
    searcher = HybridSearcher(QdrantStore(client, qdrant_collection), make_embedder())
    searcher.create(fields=FIELDS)
    searcher.add(DOCUMENTS)
    return searcher


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_two_hundred_searches_at_once_find_the_same_without_threads(
    prefer_grpc: bool, qdrant_address: dict[str, Any], filled: HybridSearcher
) -> None:
    assert isinstance(filled.store, QdrantStore)
    collection = filled.store.collection
    arguments = {**qdrant_address, "prefer_grpc": prefer_grpc, "timeout": 60}
    # The two transports round scores in the eighth digit.
    client = QdrantClient(**arguments)
    blocking = HybridSearcher(QdrantStore(client, collection), make_embedder())
    expected = [blocking.search(query, filter=FILTER) for query in QUERIES]

    async def everything() -> tuple[list[list[Hit]], list[str]]:
        async_client = AsyncQdrantClient(**arguments)
        store = QdrantStore(client, collection, async_client=async_client)
        searcher = HybridSearcher(store, make_embedder())
        hits = await keeps_ticking(
            asyncio.gather(*(searcher.asearch(query, filter=FILTER) for query in QUERIES))
        )
        names = [thread.name for thread in threading.enumerate()]
        await async_client.close()
        return hits, [name for name in names if name.startswith("qwen3-rag-hybrid")]

    found, threads = asyncio.run(everything())
    client.close()

    assert found == expected
    assert threads == []


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_keys(prefer_grpc: bool, qdrant_binary: str) -> None:
    with QdrantProcess(qdrant_binary, api_key="full", read_only_key="read") as server:

        def searcher_with(key: str | None) -> HybridSearcher:
            client = QdrantClient(
                url=server.url,
                grpc_port=server.grpc_port,
                prefer_grpc=prefer_grpc,
                api_key=key,
                check_compatibility=False,
            )
            return HybridSearcher(QdrantStore(client, "documents"), make_embedder())

        searcher_with("full").create()
        searcher_with("full").add(DOCUMENTS)

        assert searcher_with("read").search(CAPITAL)[0].id == "france"
        with pytest.raises(StoreError, match=r"Writing to .*Use an API key that is allowed"):
            searcher_with("read").add(DOCUMENTS)
        for key in (None, "wrong"):
            with pytest.raises(StoreError, match=r"failed: .*Pass the server's API key") as error:
                searcher_with(key).search(CAPITAL)
            assert "wrong" not in str(error.value)


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_limits_of_the_operator_are_told(
    prefer_grpc: bool, qdrant_address: dict[str, Any], filled: HybridSearcher
) -> None:
    store = filled.store
    assert isinstance(store, QdrantStore)
    client = QdrantClient(**qdrant_address, prefer_grpc=prefer_grpc)
    searcher = HybridSearcher(QdrantStore(client, store.collection), make_embedder())
    searcher.count()

    def limit(**limits: Any) -> None:
        config = models.StrictModeConfig(enabled=True, **limits)
        client.update_collection(store.collection, strict_mode_config=config)

    limit(max_query_limit=100)
    with pytest.raises(StoreError, match=r"Limit exceeded 208 > 100"):
        searcher.search(CAPITAL)
    limit(max_query_limit=1_000, unindexed_filtering_retrieve=False)
    unknown = models.FieldCondition(key="unknown", match=models.MatchValue(value="x"))
    with pytest.raises(StoreError, match=r"Index required but not found for .*unknown"):
        store.count(filter=models.Filter(must=[unknown]))
    assert searcher.search(CAPITAL, filter=FILTER)[0].id == "france"
    limit(write_rate_limit=60)
    searcher.add([Document(n, f"text {n}") for n in range(50)])
    searcher.add([Document(n, f"text {n}") for n in range(15)])  # waits for 5 more to be allowed
    with pytest.raises(StoreError, match=r"split your request.*`batch_size`"):
        searcher.add([Document(n, f"text {n}") for n in range(70)])
    client.close()


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_vectors_of_another_size_are_refused_by_the_server_too(
    prefer_grpc: bool, qdrant_address: dict[str, Any], filled: HybridSearcher
) -> None:
    assert isinstance(filled.store, QdrantStore)
    client = QdrantClient(**qdrant_address, prefer_grpc=prefer_grpc)
    store = QdrantStore(client, filled.store.collection)
    [point] = filled.retrieve(["france"], vectors=True).values()
    assert point.dense is not None

    with pytest.raises(StoreError, match=r"Writing to .*expected dim: 64, got 32"):
        store.upsert([type(point)(point.document, point.dense[:32], point.sparse)])
    client.close()


def test_what_one_transport_cannot_carry_is_told(qdrant_address: dict[str, Any]) -> None:
    def searcher_over(name: str, prefer_grpc: bool) -> HybridSearcher:
        client = QdrantClient(**qdrant_address, prefer_grpc=prefer_grpc)
        return HybridSearcher(QdrantStore(client, name), make_embedder())

    name = f"qwen3-rag-test-{uuid4()}"
    rest, over_grpc = searcher_over(name, False), searcher_over(name, True)
    rest.create()
    largest = Document(2**64 - 1, "text", {"n": 2**64 - 1})
    long = Document("long", "word " * 7_000_000)

    rest.add([largest])
    assert over_grpc.add([Document(2**64 - 2, "text")]) == 1
    with pytest.raises(InputError, match=r"at most 2\^63 - 1: store it as a str"):
        over_grpc.add([largest])
    with pytest.raises(StoreError, match=r"larger than allowed.*max_request_size_mb"):
        rest.add([long])
    assert {point.document.id for point in rest.scan()} == {2**64 - 1, 2**64 - 2}
    for searcher in (rest, over_grpc):
        assert isinstance(searcher.store, QdrantStore)
        searcher.store.client.delete_collection(name)
        searcher.store.client.close()


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_ids_of_64_bits_are_the_same_over_both_transports(
    tenant: str | None, qdrant_address: dict[str, Any], qdrant_collection: str
) -> None:
    ids: list[str | int] = [2**63 - 1, 2**63, 2**64 - 1, str(2**63), "٣" * 19]
    clients = [QdrantClient(**qdrant_address, prefer_grpc=grpc) for grpc in (False, True)]
    stores = [QdrantStore(client, qdrant_collection) for client in clients]
    searchers = [HybridSearcher(store, make_embedder()) for store in stores]
    searchers[0].create(tenants=tenant is not None)

    for writer in searchers:
        writer.add([Document(id_, "text", {"a": 1}) for id_ in ids], tenant=tenant)
        for reader in searchers:
            found = reader.search("text", tenant=tenant)
            assert {(hit.id, str(hit.payload)) for hit in found} == {(i, "{'a': 1}") for i in ids}
            assert {*reader.retrieve(ids, tenant=tenant)} == {*ids}
            assert {point.document.id for point in reader.scan(tenant=tenant)} == {*ids}
        writer.delete(ids, tenant=tenant)
        assert writer.count(tenant=tenant) == 0
    for client in clients:
        client.close()


@pytest.mark.parametrize("has_async_client", [False, True])
async def test_numbers_without_room_in_grpc_are_refused_before_anything_is_written(
    has_async_client: bool, qdrant_address: dict[str, Any], qdrant_collection: str
) -> None:
    arguments = {**qdrant_address, "prefer_grpc": True}
    client, async_client = QdrantClient(**arguments), AsyncQdrantClient(**arguments)
    given: dict[str, Any] = {"async_client": async_client} if has_async_client else {}
    searcher = HybridSearcher(QdrantStore(client, qdrant_collection, **given), make_embedder())
    searcher.create()
    large = Document("large", "text", {"a": [{"b": 2**63}], "c": "text"})

    with pytest.raises(InputError, match=r"'large' has the number 9223372036854775808.*REST"):
        await searcher.aadd([Document("fine", "text"), large], batch_size=1)

    assert searcher.count() == 0
    client.close()
    await async_client.close()
