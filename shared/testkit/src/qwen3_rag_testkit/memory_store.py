"""`MemoryStore`: a simple, exact store in memory, as a reference for other stores."""

from __future__ import annotations

import asyncio
import copy
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from qwen3_rag.errors import InputTypeError, StoreError
from qwen3_rag.fusion import Id, RankedLists
from qwen3_rag.lexical import tokens
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid import AsyncStore, CollectionRecord, Finding, Point, Query, Store
from qwen3_rag_hybrid.stores.fields import check_declared
from qwen3_rag_hybrid.stores.findings import compare, refuse
from qwen3_rag_hybrid.stores.short import OVERSAMPLING, shortened
from qwen3_rag_hybrid.stores.tenants import check_use, check_whole

__all__ = ["MemoryFilter", "MemoryStore"]


@dataclass(frozen=True)
class MemoryFilter:
    """Matches documents whose payload field has a value.

    Attributes:
        field: The field.
        value: Its value; a tuple has several, of which one must match.
        also: Another filter that must match.
    """

    field: str
    value: Any
    also: MemoryFilter | None = None

    def matches(self, payload: Mapping[str, Any]) -> bool:
        """Whether a document with this payload passes."""
        wanted = self.value if isinstance(self.value, tuple) else (self.value,)
        passes = payload.get(self.field) in wanted
        return passes and (self.also is None or self.also.matches(payload))


@dataclass(frozen=True)
class _Among:
    """Matches documents that have one of the ids and pass a filter."""

    ids: Sequence[Id]
    filter: MemoryFilter | None


@dataclass
class _Collection:
    record: CollectionRecord | None = None
    tenants: dict[str | None, dict[Id, Point]] = field(default_factory=dict)

    def points(self, name: str, tenant: str | None) -> dict[Id, Point]:
        """Return the documents of a tenant, or all of a collection without tenants."""
        check_use(name, self.record is not None and self.record.tenants, tenant)
        return self.tenants.get(tenant, {})


class MemoryStore(Store):
    """Keeps a collection in a dictionary, and scores every document for every query.

    Stores with the same `database` share its collections, like clients of one server.
    """

    can_have_tenants = True

    def __init__(
        self,
        database: dict[str, Any] | None = None,
        collection: str = "documents",
        *,
        native_async: bool = False,
        own_bm25: bool = False,
    ) -> None:
        """Set the collection's name.

        Args:
            database: The collections by name; a new database when omitted.
            collection: Name of the collection.
            native_async: Whether to act as a store with a native async client.
            own_bm25: Whether to act as a store that computes BM25 itself, of `Query.terms` and the
                documents' real mean length, with `k1` 1.2 and `b` 0.75.
        """
        self._database: dict[str, _Collection] = {} if database is None else database
        self._collection = collection
        self._bm25 = _own_bm25 if own_bm25 else _bm25
        self._lock = threading.RLock()
        self._closed = threading.Event()
        if native_async:
            self.aio: AsyncStore | None = _Async(self)

    def for_tenant(self, tenant: str) -> Self:
        """Give the store of one tenant; see `Store.for_tenant`."""
        bound = super().for_tenant(tenant)
        if self.aio is not None:
            bound.aio = _Async(bound)
        return bound

    @property
    def name(self) -> str:
        """The collection's name for error messages."""
        return f"The collection {self._collection!r}"

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`."""
        with self._lock:
            self._open()
            collection = self._database.setdefault(self._collection, _Collection())
            if collection.record is not None:
                refuse(compare(self.name, collection.record, record))
            elif any(collection.tenants.values()) and not adopt:
                raise StoreError(f"{self.name} has points but no record; see `adopt`.")
            collection.record = record

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`."""
        with self._lock:
            collection = self._open()
            return collection.record if collection else None

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`."""
        with self._lock:
            self._opened().record = record

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check whether the collection exists; see `Store.check`."""
        with self._lock:
            if self._open() is None:
                return [Finding("missing", "error", self._missing(), "Make it with `create()`.")]
            return []

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject another store's filter or an unknown field; see `Store.check_filter`."""
        if filter is None:
            return
        if not isinstance(filter, MemoryFilter):
            raise InputTypeError(f"`filter` must be a `MemoryFilter`, got {type(filter).__name__}.")
        check_declared([filter.field], fields, self.keys)

    def matching(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """Make a filter; see `Store.matching`."""
        filter = None
        for field_, wanted in values.items():
            filter = MemoryFilter(field_, tuple(wanted), filter)
        return filter

    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Restrict a filter to documents; see `Store.with_ids`."""
        return filter if ids is None else _Among(ids, filter)

    def tenants(self) -> list[str]:
        """List the tenants; see `Store.tenants`."""
        check_whole(self.name, self.tenant)
        with self._lock:
            kept = self._opened().tenants
            return sorted(name for name, points in kept.items() if name is not None and points)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write copies of points; see `Store.upsert`."""
        with self._lock:
            self._points()
            opened = self._opened()
            kept, record = opened.tenants.setdefault(self.tenant, {}), opened.record
            for point in points:
                size = None if point.dense is None else len(point.dense)
                if record and size not in (None, record.dim):
                    raise StoreError(f"{self.name} takes vectors of {record.dim}, not of {size}.")
                kept[point.document.id] = copy.deepcopy(point)

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`."""
        with self._lock:
            for id_ in ids:
                self._points().pop(id_, None)

    def delete_matching(self, filter: Any) -> None:
        """Delete documents that pass a filter; see `Store.delete_matching`."""
        with self._lock:
            points = self._points()
            for id_ in [id_ for id_, point in points.items() if _passes(point, filter)]:
                del points[id_]

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Score every document; see `Store.search`."""
        with self._lock:
            points = self._points()
            scores = {DENSE: _cosines(points, query), BM25: self._bm25(points, query)}
            if query.short_dim is not None:
                among = _first_stage(points, query, OVERSAMPLING * limit, filter)
                scores[DENSE] = {id_: scores[DENSE][id_] for id_ in among}
            return {
                name: sorted(
                    (hit for hit in found.items() if _passes(points[hit[0]], filter)),
                    key=lambda hit: -hit[1],
                )[:limit]
                for name, found in scores.items()
            }

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; see `Store.retrieve`."""
        with self._lock:
            points = self._points()
            return {id_: _copy(points[id_], vectors) for id_ in ids if id_ in points}

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over a snapshot of the documents; see `Store.scan`."""
        with self._lock:
            points = list(self._points().values())
        for point in points:
            if _passes(point, filter):
                yield _copy(point, vectors)

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        with self._lock:
            collection = self._open()
            points = collection.points(self.name, self.tenant) if collection else {}
            return sum(_passes(point, filter) for point in points.values())

    def close(self) -> None:
        """Reject further calls; the database keeps the collection."""
        self._closed.set()

    def _open(self) -> _Collection | None:
        if self._closed.is_set():
            raise StoreError(f"{self.name} was closed.")
        return self._database.get(self._collection)

    def _opened(self) -> _Collection:
        collection = self._open()
        if collection is None:
            raise StoreError(self._missing())
        return collection

    def _points(self) -> dict[Id, Point]:
        return self._opened().points(self.name, self.tenant)

    def _missing(self) -> str:
        return f"There is no collection {self._collection!r}."


class _Async:
    """The store's methods as coroutines that first yield to the event loop."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        await asyncio.sleep(0)
        self._store.create(record, adopt=adopt)

    async def record(self) -> CollectionRecord | None:
        await asyncio.sleep(0)
        return self._store.record()

    async def check(self, record: CollectionRecord) -> list[Finding]:
        await asyncio.sleep(0)
        return self._store.check(record)

    async def upsert(self, points: Sequence[Point]) -> None:
        await asyncio.sleep(0)
        self._store.upsert(points)

    async def delete(self, ids: Sequence[Id]) -> None:
        await asyncio.sleep(0)
        self._store.delete(ids)

    async def delete_matching(self, filter: Any) -> None:
        await asyncio.sleep(0)
        self._store.delete_matching(filter)

    async def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        await asyncio.sleep(0)
        return self._store.search(query, limit=limit, filter=filter)

    async def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        await asyncio.sleep(0)
        return self._store.retrieve(ids, vectors=vectors)


def _cosines(points: Mapping[Id, Point], query: Query) -> dict[Id, float]:
    """Compute the cosine of each document's vector with the query's; both have unit length."""
    if not points:
        return {}
    vectors = np.asarray([point.dense for point in points.values()], dtype=np.float64)
    return dict(zip(points, (vectors @ query.vector.astype(np.float64)).tolist(), strict=True))


def _first_stage(points: Mapping[Id, Point], query: Query, limit: int, filter: Any) -> list[Id]:
    """Find the best by short vectors."""
    assert query.short_dim is not None
    short = shortened(query.vector, query.short_dim)
    cosines = {
        id_: float(shortened(point.dense, query.short_dim) @ short)
        for id_, point in points.items()
        if point.dense is not None and _passes(point, filter)
    }
    return sorted(cosines, key=lambda id_: -cosines[id_])[:limit]


def _bm25(points: Mapping[Id, Point], query: Query) -> dict[Id, float]:
    """Compute the sum of IDF times weight over the terms that a document shares with the query."""
    weights = {
        id_: point.sparse.as_dict()
        for id_, point in points.items()
        if point.sparse is not None and len(point.sparse)
    }
    scores: dict[Id, float] = {}
    for term in query.sparse.indices.tolist():
        holding = [id_ for id_, terms in weights.items() if term in terms]
        rest = len(weights) - len(holding)
        idf = math.log(1 + (rest + 0.5) / (len(holding) + 0.5))
        for id_ in holding:
            scores[id_] = scores.get(id_, 0.0) + idf * weights[id_][term]
    return scores


def _own_bm25(points: Mapping[Id, Point], query: Query) -> dict[Id, float]:
    """Compute BM25 by the textbook from the documents' texts."""
    counts = {id_: Counter(tokens(point.document.text)) for id_, point in points.items()}
    mean = sum(terms.total() for terms in counts.values()) / max(len(counts), 1)
    scores: dict[Id, float] = {}
    for term, weight in Counter(query.terms).items():
        holding = [id_ for id_, terms in counts.items() if term in terms]
        idf = math.log(1 + (len(counts) - len(holding) + 0.5) / (len(holding) + 0.5))
        for id_ in holding:
            tf, length = counts[id_][term], counts[id_].total()
            norm = 1.2 * (1 - 0.75 + 0.75 * length / mean)
            scores[id_] = scores.get(id_, 0.0) + weight * idf * tf * 2.2 / (tf + norm)
    return scores


def _passes(point: Point, filter: MemoryFilter | _Among | None) -> bool:
    if isinstance(filter, _Among):
        return point.document.id in filter.ids and _passes(point, filter.filter)
    return filter is None or filter.matches(point.document.payload)


def _copy(point: Point, vectors: bool) -> Point:
    if not vectors:
        point = replace(point, dense=None, sparse=None)
    return copy.deepcopy(point)
