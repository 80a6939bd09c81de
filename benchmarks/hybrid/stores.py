"""The stores of the benchmark: opened for `HybridSearcher`, and asked through their own clients."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager as AsyncContext
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import qdrant_edge as engine
import weaviate
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from weaviate.classes.query import MetadataQuery

from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid import QdrantEdgeStore, QdrantStore, Query, Store, WeaviateStore
from qwen3_rag_hybrid.documents import point_id
from qwen3_rag_testkit.server_processes import QdrantProcess
from qwen3_rag_testkit.weaviate_server import WeaviateServer

__all__ = ["BINARIES", "STORES", "Asked", "Opened", "Request"]

#: Stores that need a server, and the environment variables that name the binaries of servers.
BINARIES = {"Weaviate": "WEAVIATE_BINARY", "Qdrant": "QDRANT_BINARY"}

_NAME = "Benchmark"

Request = Callable[[], object]


@dataclass(frozen=True)
class Asked:
    """What one search asked its store for.

    Attributes:
        searches: The queries, each with its limit. There are several if hits tied at the limit.
        ids: The ids that were looked up.
    """

    searches: Sequence[tuple[Query, int]]
    ids: Sequence[str | int]


@dataclass(frozen=True)
class Opened:
    """An open store.

    Attributes:
        store: The store.
        own: Makes the same requests for the store's own client. Vectors, terms and ids are in the
            client's form before they are sent.
        folder: Where the data is.
        settle: Waits until everything that was added is in the indexes.
        pid: Process of the server; `None` if there is none.
        awaited: Opens the store with a native async client, if it has one.
    """

    store: Store
    own: Callable[[Asked], Sequence[Request]]
    folder: Path
    settle: Callable[[], object] = lambda: None
    pid: int | None = None
    awaited: Callable[[], AsyncContext[Store]] | None = None


@contextmanager
def _edge(folder: Path, *, optimized: bool) -> Iterator[Opened]:
    with closing(QdrantEdgeStore(folder)) as store:

        def own(asked: Asked) -> Sequence[Request]:
            places: list[Any] = [point_id(id_) for id_ in asked.ids]
            searches = [_edge_search(store, *one) for one in asked.searches]
            return [*searches, lambda: store._folder.opened().retrieve(places, True, False)]

        yield Opened(store, own, folder, store.optimize if optimized else lambda: None)


def _edge_search(store: QdrantEdgeStore, query: Query, limit: int) -> Request:
    vectors: dict[str, Any] = {DENSE: query.vector.tolist()}
    if len(query.sparse):
        indices, values = query.sparse.indices.tolist(), query.sparse.values.tolist()
        vectors[BM25] = engine.SparseVector(indices, values)

    def send() -> object:
        requests = [
            engine.QueryRequest(
                limit=limit, query=engine.Query.Nearest(vector, using=name), with_payload=["_id"]
            )
            for name, vector in vectors.items()
        ]
        # A folder can be opened once, so this is the shard that the store has open.
        return store._folder.opened().query_batch(engine.QueryBatchRequest(requests))

    return send


@contextmanager
def _local_mode(folder: Path) -> Iterator[Opened]:
    warnings.simplefilter("ignore")  # it warns about large collections
    with closing(QdrantClient(":memory:")) as client:
        yield Opened(QdrantStore(client, _NAME), partial(_own_qdrant, client), folder)


@contextmanager
def _qdrant(_: Path) -> Iterator[Opened]:
    with QdrantProcess(os.environ[BINARIES["Qdrant"]]) as server:
        address: dict[str, Any] = {"url": server.url, "timeout": 600, "check_compatibility": False}
        client = QdrantClient(**address)

        def settle() -> None:
            # It may be about to begin when it was seen to be ready for the first time.
            ready = 0
            while ready < 3:
                time.sleep(0.5)
                status = client.get_collection(_NAME).status
                ready = ready + 1 if status == models.CollectionStatus.GREEN else 0

        @asynccontextmanager
        async def awaited() -> AsyncIterator[Store]:
            async_client = AsyncQdrantClient(**address)
            yield QdrantStore(client, _NAME, async_client=async_client)
            await async_client.close()

        with closing(client):
            store, own = QdrantStore(client, _NAME), partial(_own_qdrant, client)
            yield Opened(store, own, server.folder, settle, server.pid, awaited)


def _own_qdrant(client: QdrantClient, asked: Asked) -> Sequence[Request]:
    places: list[Any] = [point_id(id_) for id_ in asked.ids]
    return [
        *(_qdrant_search(client, *one) for one in asked.searches),
        lambda: client.retrieve(_NAME, places, with_payload=True, with_vectors=False),
    ]


def _qdrant_search(client: QdrantClient, query: Query, limit: int) -> Request:
    vectors: dict[str, Any] = {DENSE: query.vector.tolist()}
    if len(query.sparse):
        indices, values = query.sparse.indices.tolist(), query.sparse.values.tolist()
        vectors[BM25] = models.SparseVector(indices=indices, values=values)

    def send() -> object:
        requests = [
            models.QueryRequest(query=vector, using=name, limit=limit, with_payload=["_id"])
            for name, vector in vectors.items()
        ]
        return client.query_batch_points(_NAME, requests)

    return send


@contextmanager
def _weaviate(_: Path) -> Iterator[Opened]:
    with WeaviateServer(os.environ[BINARIES["Weaviate"]]) as server:
        address: dict[str, Any] = {"port": server.port, "grpc_port": server.grpc_port}
        with weaviate.connect_to_local(**address) as client:
            queries = client.collections.use(_NAME).query

            def own(asked: Asked) -> Sequence[Request]:
                places = [str(point_id(id_)) for id_ in asked.ids]
                searches = [_weaviate_searches(queries, *one) for one in asked.searches]
                look_up = partial(
                    queries.fetch_objects_by_ids,
                    places,
                    limit=len(places),
                    return_properties=["text", "_payload", "_document_id"],
                )
                return [*chain.from_iterable(searches), look_up]

            @asynccontextmanager
            async def awaited() -> AsyncIterator[Store]:
                async with weaviate.use_async_with_local(**address) as async_client:
                    yield WeaviateStore(client, _NAME, async_client=async_client)

            store = WeaviateStore(client, _NAME)
            yield Opened(store, own, server.folder, pid=server.pid, awaited=awaited)


def _weaviate_searches(queries: Any, query: Query, limit: int) -> Iterator[Request]:
    yield partial(
        queries.near_vector,
        query.vector.tolist(),
        target_vector=DENSE,
        limit=limit,
        return_properties=["_document_id"],
        return_metadata=MetadataQuery(distance=True),
    )
    if query.terms:
        yield partial(
            queries.bm25,
            " ".join(query.terms),
            query_properties=["_bm25"],
            limit=limit,
            return_properties=["_document_id"],
            return_metadata=MetadataQuery(score=True),
        )


#: Opens each store over an empty collection, given a folder for a store without a server. Local
#: mode is for small collections: it compares a query with every document, in Python.
STORES: Mapping[str, Callable[[Path], AbstractContextManager[Opened]]] = {
    "Edge": partial(_edge, optimized=False),
    "Edge, optimized": partial(_edge, optimized=True),
    "Qdrant": _qdrant,
    "Qdrant, local mode": _local_mode,
    "Weaviate": _weaviate,
}
