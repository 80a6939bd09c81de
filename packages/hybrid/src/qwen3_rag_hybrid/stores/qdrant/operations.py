"""`Operations` on a Qdrant collection, for the blocking client and for the async one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag.errors import Qwen3RagError, StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Call, Flow
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.qdrant.errors import failure, retry_after
from qwen3_rag_hybrid.stores.qdrant.layouts import Layout, VectorNames
from qwen3_rag_hybrid.stores.qdrant.points import batches, read_id, read_point, to_point, to_sparse
from qwen3_rag_hybrid.stores.qdrant.shape import check_sample, check_shape, missing_indexes
from qwen3_rag_hybrid.stores.qdrant.terms import ONLY_VECTOR, add_sparse, renewals
from qwen3_rag_hybrid.stores.record import (
    CollectionRecord,
    Finding,
    adopted,
    no_collection,
    refuse,
)

__all__ = ["Operations"]

T = TypeVar("T")

PAGE = 256
_RECORD = "qwen3_rag"
_SAMPLED = 20  # points of another program to look at

# Seconds to wait before a write is sent again: 15 in all, as long as a server takes to restart.
_WAITS = (0.5, 1, 2, 4, 8)
_LONGEST_WAIT = 60  # seconds, if the server asks for more


class Operations:
    """What `Store` has, as flows: each sends its requests by the client that it is run for."""

    def __init__(
        self,
        client: QdrantClient,
        async_client: AsyncQdrantClient | None,
        collection: str,
        *,
        layout: Layout,
        is_local: bool,
    ) -> None:
        """Set the arguments of `QdrantStore`; no request is sent.

        Args:
            client: Sends the requests of blocking callers.
            async_client: Sends those of async callers.
            collection: Name of the collection.
            layout: Where the collection has what.
            is_local: Whether the client runs in local mode.
        """
        self._client, self._async_client = client, async_client
        self._collection = collection
        self._layout = layout
        self._names: VectorNames | None = None
        self._is_local = is_local
        self.name = f"The collection {collection!r}"

    def create(self, record: CollectionRecord, adopt: bool) -> Flow[None]:
        """See `Store.create`."""

        def create() -> Flow[None]:
            made = not (yield self._exists()) and (yield from self._make(record))
            kept = record
            if not made and (yield from self._recorded()) != record:
                kept = yield from self._take_over(record, adopt)
            yield from self._make_indexes(record)
            if (yield from self._recorded()) != kept:
                raise StoreError(
                    f"{self.name} did not keep its record, as Qdrant servers before 1.16 do. "
                    "Update the server."
                )

        return self._doing("Making", create())

    def record(self) -> Flow[CollectionRecord | None]:
        """See `Store.record`."""

        def read() -> Flow[CollectionRecord | None]:
            return (yield from self._recorded()) if (yield self._exists()) else None

        return self._doing("Reading the record of", read())

    def write_record(self, record: CollectionRecord) -> Flow[None]:
        """See `Store.write_record`."""
        return self._doing("Recording in", self._write_record(record))

    def check(self, record: CollectionRecord) -> Flow[list[Finding]]:
        """See `Store.check`."""

        def check() -> Flow[list[Finding]]:
            if not (yield self._exists()):
                return [no_collection(self._collection)]
            return (yield from self._findings(record))

        return self._doing("Checking", check())

    def upsert(self, points: Sequence[Point]) -> Flow[None]:
        """See `Store.upsert`."""

        def upsert() -> Flow[None]:
            names = yield from self._vector_names()
            for point in points:
                self._layout.place(point.document.id)  # refuses an id before anything is written
            for batch in batches(points):
                made = [to_point(point, self._layout, names) for point in batch]
                yield from self._write(partial(_upsert, self._collection, made))

        return self._doing("Writing to", upsert())

    def renew_terms(self, points: Sequence[Point]) -> Flow[None]:
        """See `Store.renew_terms`."""

        def renew() -> Flow[None]:
            names = yield from self._vector_names()
            if names.sparse is None:
                if not self._layout.takes_terms(names):
                    raise StoreError(f"{self.name} cannot get BM25 terms. {ONLY_VECTOR}")
                yield self._ask(partial(add_sparse, self._collection))
                self._names = names = replace(names, sparse=BM25)
            assert names.sparse is not None
            for batch in batches(points):
                for request in renewals(self._collection, batch, self._layout, names.sparse):
                    yield from self._write(request)

        return self._doing("Renewing the terms of", renew())

    def foreign_sparse(self) -> Flow[str | None]:
        """Return the name of the terms' vector if another program adds points without it."""

        def name() -> Flow[str | None]:
            return (yield from self._vector_names()).sparse if self._layout.is_foreign else None

        return self._doing("Checking", name())

    def terms_remedy(self) -> Flow[str]:
        """Return what to do about missing terms if they cannot be added; otherwise nothing."""

        def remedy() -> Flow[str]:
            names = yield from self._vector_names()
            return "" if self._layout.takes_terms(names) else ONLY_VECTOR

        return self._doing("Checking", remedy())

    def delete(self, ids: Sequence[Id]) -> Flow[None]:
        """See `Store.delete`."""
        return self._delete(models.PointIdsList(points=[self._layout.place(id_) for id_ in ids]))

    def delete_matching(self, filter: Any) -> Flow[None]:
        """See `Store.delete_matching`."""
        matching = models.Filter() if filter is None else filter
        return self._delete(models.FilterSelector(filter=matching))

    def search(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        """See `Store.search`."""

        def search() -> Flow[RankedLists]:
            names = yield from self._vector_names()
            queries: dict[str, Any] = {DENSE: (query.vector.tolist(), names.dense or None)}
            if len(query.sparse):
                queries[BM25] = (to_sparse(query.sparse), names.sparse)
            requests = [
                models.QueryRequest(
                    query=one,
                    using=using,
                    filter=filter,
                    limit=limit,
                    with_payload=models.PayloadSelectorInclude(include=[self._layout.keys.id]),
                )
                for one, using in queries.values()
            ]
            answers = yield self._ask(
                lambda client: client.query_batch_points(self._collection, requests)
            )
            ranked: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
            for name, answer in zip(queries, answers, strict=True):
                ranked[name] = [
                    (read_id(hit, self._layout.keys), hit.score) for hit in answer.points
                ]
            return ranked

        return self._doing("Searching", search())

    def retrieve(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        """See `Store.retrieve`."""
        places: list[Any] = [self._layout.place(id_) for id_ in ids]

        def retrieve() -> Flow[dict[Id, Point]]:
            records = yield self._ask(
                lambda client: client.retrieve(
                    self._collection, places, with_payload=True, with_vectors=vectors
                )
            )
            points = yield from self._points(records)
            return {point.document.id: point for point in points}

        return self._doing("Reading", retrieve())

    def page(self, start: Any, filter: Any, vectors: bool) -> Flow[tuple[list[Point], Any]]:
        """Read one page of all documents, from `start`, and where the next one starts."""

        def page() -> Flow[tuple[list[Point], Any]]:
            records, next_start = yield self._ask(
                lambda client: client.scroll(
                    self._collection,
                    scroll_filter=filter,
                    limit=PAGE,
                    offset=start,
                    with_payload=True,
                    with_vectors=vectors,
                )
            )
            return (yield from self._points(records)), next_start

        return self._doing("Reading", page())

    def count(self, filter: Any) -> Flow[int]:
        """See `Store.count`."""

        def count() -> Flow[int]:
            return (yield from self._count(filter)) if (yield self._exists()) else 0

        return self._doing("Counting", count())

    def _delete(self, selector: models.PointIdsList | models.FilterSelector) -> Flow[None]:
        return self._doing(
            "Deleting from",
            self._write(lambda client: client.delete(self._collection, selector, wait=True)),
        )

    def _make(self, record: CollectionRecord) -> Flow[bool]:
        """Make the collection; return `False` if another program did so in the meantime."""
        names = self._layout.names(None)
        dense = models.VectorParams(size=record.dim, distance=models.Distance.COSINE)
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        try:
            yield self._ask(
                lambda client: client.create_collection(
                    self._collection,
                    vectors_config={names.dense: dense} if names.dense else dense,
                    sparse_vectors_config={names.sparse or BM25: sparse},
                    metadata={_RECORD: record.as_dict()},
                )
            )
        except Exception:
            if not (yield self._exists()):
                raise
            return False
        return True

    def _take_over(self, record: CollectionRecord, adopt: bool) -> Flow[CollectionRecord]:
        """Add the record to an existing collection, if the collection matches it."""
        refuse((yield from self._findings(record)))
        if (yield from self._vector_names()).sparse is None:
            record = replace(record, encoder={})
        recorded = yield from self._recorded()
        count = 0 if recorded or adopt else (yield from self._count(None))
        record = adopted(self.name, recorded, record, adopt=adopt, count=lambda: count)
        yield from self._write_record(record)
        return record

    def _make_indexes(self, record: CollectionRecord) -> Flow[None]:
        if self._is_local:
            return
        indexed = (yield self._info()).payload_schema
        fields = self._layout.keys.stored(record.fields)
        for field in fields.keys() - indexed.keys():
            kind = models.PayloadSchemaType(fields[field])
            yield self._ask(partial(_make_index, self._collection, field, kind))

    def _findings(self, record: CollectionRecord) -> Flow[list[Finding]]:
        info: models.CollectionInfo = yield self._info()
        self._names = names = self._layout.names(info.config.params)
        findings = check_shape(self.name, info.config.params, names, record.dim)
        if not findings and (yield from self._recorded()) is None:
            # Another program wrote the points.
            findings = check_sample(self.name, (yield from self._sample()), names.sparse)
        if not self._is_local:  # in local mode, indexes have no effect
            findings += missing_indexes(
                self.name, self._layout.keys.stored(record.fields), info.payload_schema
            )
        return findings

    def _sample(self) -> Flow[list[Point]]:
        records, _ = yield self._ask(
            lambda client: client.scroll(
                self._collection, limit=_SAMPLED, with_payload=True, with_vectors=True
            )
        )
        return (yield from self._points(records))

    def _recorded(self) -> Flow[CollectionRecord | None]:
        info = yield self._info()
        metadata: Mapping[str, Any] = info.config.metadata or {}
        record = metadata.get(_RECORD)
        if record is None:
            return None
        try:
            return CollectionRecord.from_dict(record)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The record of the collection {self._collection!r} cannot be read ({error}). A "
                "later release of qwen3-rag-hybrid may have written it: update this one."
            ) from error

    def _write_record(self, record: CollectionRecord) -> Flow[None]:
        metadata = {_RECORD: record.as_dict()}
        yield self._ask(
            lambda client: client.update_collection(self._collection, metadata=metadata)
        )

    def _count(self, filter: Any) -> Flow[int]:
        counted = yield self._ask(
            lambda client: client.count(self._collection, count_filter=filter, exact=True)
        )
        return int(counted.count)

    def _points(self, records: Sequence[models.Record]) -> Flow[list[Point]]:
        names = yield from self._vector_names()
        return [read_point(record, self._layout.keys, names) for record in records]

    def _vector_names(self) -> Flow[VectorNames]:
        """Find the names of the vectors, once."""
        if self._names is None:
            self._names = self._layout.names((yield self._info()).config.params)
        return self._names

    def _exists(self) -> Call:
        return self._ask(lambda client: client.collection_exists(self._collection))

    def _info(self) -> Call:
        return self._ask(lambda client: client.get_collection(self._collection))

    def _write(self, request: Callable[[QdrantClient], Any]) -> Flow[None]:
        """Send a write that may be repeated; repeat it if the server may take it later."""
        for wait in _WAITS:
            try:
                yield self._ask(request)
                return
            except Exception as error:
                asked = retry_after(error)
                if asked is None:
                    raise
            yield _pause(min(max(wait, asked), _LONGEST_WAIT))
        yield self._ask(request)

    def _ask(self, request: Callable[[QdrantClient], Any]) -> Call:
        """Make a call of a request; both clients have the same methods."""

        async def awaited() -> Any:
            return await request(cast(QdrantClient, self._async_client))

        return Call(partial(request, self._client), awaited)

    def _doing(self, action: str, flow: Flow[T]) -> Flow[T]:
        """Run a flow, and convert the client's errors to `StoreError`."""
        try:
            return (yield from flow)
        except Qwen3RagError:
            raise
        except Exception as error:
            raise failure(action, self.name, self._collection, error) from error


def _upsert(collection: str, points: list[models.PointStruct], client: QdrantClient) -> Any:
    return client.upsert(collection, points, wait=True)


def _make_index(
    collection: str, field: str, kind: models.PayloadSchemaType, client: QdrantClient
) -> Any:
    return client.create_payload_index(collection, field, kind, wait=True)


def _pause(seconds: float) -> Call:
    return Call(partial(time.sleep, seconds), partial(asyncio.sleep, seconds))
