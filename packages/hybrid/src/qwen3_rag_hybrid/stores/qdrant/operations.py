"""`Operations` on a Qdrant collection, for the blocking client and for the async one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag.errors import StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Call, Flow
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.qdrant.layouts import Layout, VectorNames
from qwen3_rag_hybrid.stores.qdrant.points import batches, read_id, read_point, to_point, to_sparse
from qwen3_rag_hybrid.stores.qdrant.requests import Requests
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

F = TypeVar("F", bound=Callable[..., Flow[Any]])

_PAGE = 256
_RECORD = "qwen3_rag"
_SAMPLED = 20  # points of another program to look at


def _doing(action: str) -> Callable[[F], F]:
    """Convert the client's errors in a flow to `StoreError`s that name the action."""

    def decorate(method: F) -> F:
        @wraps(method)
        def flow(self: Operations, *args: Any, **kwargs: Any) -> Flow[Any]:
            return self._requests.doing(action, method(self, *args, **kwargs))

        return cast(F, flow)

    return decorate


class Operations:
    """The methods of `Store` as flows; each sends its requests by the client it is run for."""

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
        self._requests = Requests(client, async_client, collection)
        self._name = self._requests.name
        self._collection = collection
        self._layout = layout
        self._names: VectorNames | None = None
        self._is_local = is_local

    @_doing("Making")
    def create(self, record: CollectionRecord, adopt: bool) -> Flow[None]:
        """See `Store.create`."""
        made = not (yield self._exists()) and (yield from self._make(record))
        kept = record
        if not made and (yield from self._recorded()) != record:
            kept = yield from self._take_over(record, adopt)
        yield from self._make_indexes(record)
        if (yield from self._recorded()) != kept:
            raise StoreError(
                f"{self._name} did not keep its record, as Qdrant servers before 1.16 do. Update "
                "the server."
            )

    @_doing("Reading the record of")
    def record(self) -> Flow[CollectionRecord | None]:
        """See `Store.record`."""
        return (yield from self._recorded()) if (yield self._exists()) else None

    @_doing("Recording in")
    def write_record(self, record: CollectionRecord) -> Flow[None]:
        """See `Store.write_record`."""
        metadata = {_RECORD: record.as_dict()}
        yield self._requests.ask(
            lambda client: client.update_collection(self._collection, metadata=metadata)
        )

    @_doing("Checking")
    def check(self, record: CollectionRecord) -> Flow[list[Finding]]:
        """See `Store.check`."""
        if not (yield self._exists()):
            return [no_collection(self._collection)]
        return (yield from self._findings(record))

    @_doing("Writing to")
    def upsert(self, points: Sequence[Point]) -> Flow[None]:
        """See `Store.upsert`."""
        names = yield from self._vector_names()
        for point in points:
            self._layout.place(point.document.id)  # refuses an id before anything is written
        for batch in batches(points):
            made = [to_point(point, self._layout, names) for point in batch]
            yield from self._requests.write(partial(_upsert, self._collection, made))

    @_doing("Renewing the terms of")
    def renew_terms(self, points: Sequence[Point]) -> Flow[None]:
        """See `Store.renew_terms`."""
        names = yield from self._vector_names()
        if names.sparse is None:
            if not self._layout.takes_terms(names):
                raise StoreError(f"{self._name} cannot get BM25 terms. {ONLY_VECTOR}")
            yield self._requests.ask(partial(add_sparse, self._collection))
            self._names = names = replace(names, sparse=BM25)
        assert names.sparse is not None
        for batch in batches(points):
            for request in renewals(self._collection, batch, self._layout, names.sparse):
                yield from self._requests.write(request)

    @_doing("Checking")
    def foreign_sparse(self) -> Flow[str | None]:
        """Return the name of the terms' vector if another program adds points without it."""
        return (yield from self._vector_names()).sparse if self._layout.is_foreign else None

    @_doing("Checking")
    def terms_remedy(self) -> Flow[str]:
        """Return what to do about missing terms if they cannot be added; otherwise nothing."""
        names = yield from self._vector_names()
        return "" if self._layout.takes_terms(names) else ONLY_VECTOR

    def delete(self, ids: Sequence[Id]) -> Flow[None]:
        """See `Store.delete`."""
        return self._delete(models.PointIdsList(points=[self._layout.place(id_) for id_ in ids]))

    def delete_matching(self, filter: Any) -> Flow[None]:
        """See `Store.delete_matching`."""
        matching = models.Filter() if filter is None else filter
        return self._delete(models.FilterSelector(filter=matching))

    @_doing("Searching")
    def search(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        """See `Store.search`."""
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
        answers = yield self._requests.ask(
            lambda client: client.query_batch_points(self._collection, requests)
        )
        ranked: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
        for name, answer in zip(queries, answers, strict=True):
            ranked[name] = [(read_id(hit, self._layout.keys), hit.score) for hit in answer.points]
        return ranked

    @_doing("Reading")
    def retrieve(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        """See `Store.retrieve`."""
        places: list[Any] = [self._layout.place(id_) for id_ in ids]
        records = yield self._requests.ask(
            lambda client: client.retrieve(
                self._collection, places, with_payload=True, with_vectors=vectors
            )
        )
        points = yield from self._points(records)
        return {point.document.id: point for point in points}

    @_doing("Reading")
    def page(self, start: Any, filter: Any, vectors: bool) -> Flow[tuple[list[Point], Any]]:
        """Read one page of all documents, from `start`, and where the next one starts."""
        records, next_start = yield self._requests.ask(
            lambda client: client.scroll(
                self._collection,
                scroll_filter=filter,
                limit=_PAGE,
                offset=start,
                with_payload=True,
                with_vectors=vectors,
            )
        )
        return (yield from self._points(records)), next_start

    @_doing("Counting")
    def count(self, filter: Any) -> Flow[int]:
        """See `Store.count`."""
        return (yield from self._count(filter)) if (yield self._exists()) else 0

    @_doing("Deleting from")
    def _delete(self, selector: models.PointIdsList | models.FilterSelector) -> Flow[None]:
        yield from self._requests.write(
            lambda client: client.delete(self._collection, selector, wait=True)
        )

    def _make(self, record: CollectionRecord) -> Flow[bool]:
        """Make the collection; return `False` if another program did so in the meantime."""
        names = self._layout.names(None)
        dense = models.VectorParams(size=record.dim, distance=models.Distance.COSINE)
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        try:
            yield self._requests.ask(
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
        record = adopted(self._name, recorded, record, adopt=adopt, count=lambda: count)
        yield from self.write_record(record)
        return record

    def _make_indexes(self, record: CollectionRecord) -> Flow[None]:
        if self._is_local:
            return
        indexed = (yield self._info()).payload_schema
        fields = self._layout.keys.stored(record.fields)
        for field in fields.keys() - indexed.keys():
            kind = models.PayloadSchemaType(fields[field])
            yield self._requests.ask(partial(_make_index, self._collection, field, kind))

    def _findings(self, record: CollectionRecord) -> Flow[list[Finding]]:
        info: models.CollectionInfo = yield self._info()
        self._names = names = self._layout.names(info.config.params)
        findings = check_shape(self._name, info.config.params, names, record.dim)
        if not findings and (yield from self._recorded()) is None:
            # Another program wrote the points.
            findings = check_sample(self._name, (yield from self._sample()), names.sparse)
        if not self._is_local:  # in local mode, indexes have no effect
            findings += missing_indexes(
                self._name, self._layout.keys.stored(record.fields), info.payload_schema
            )
        return findings

    def _sample(self) -> Flow[list[Point]]:
        records, _ = yield self._requests.ask(
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

    def _count(self, filter: Any) -> Flow[int]:
        counted = yield self._requests.ask(
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
        return self._requests.ask(lambda client: client.collection_exists(self._collection))

    def _info(self) -> Call:
        return self._requests.ask(lambda client: client.get_collection(self._collection))


def _upsert(collection: str, points: list[models.PointStruct], client: QdrantClient) -> Any:
    return client.upsert(collection, points, wait=True)


def _make_index(
    collection: str, field: str, kind: models.PayloadSchemaType, client: QdrantClient
) -> Any:
    return client.create_payload_index(collection, field, kind, wait=True)
