"""`QdrantEdgeStore`: Qdrant's engine in this process, with the collection in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from qwen3_rag.errors import MissingExtraError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point, point_id
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.findings import Finding, compare, refuse
from qwen3_rag_hybrid.stores.qdrant.filters import (
    check_filter,
    has_conditions,
    replaced,
    with_places,
)
from qwen3_rag_hybrid.stores.qdrant.paths import check_paths, check_payloads, value_at
from qwen3_rag_hybrid.stores.qdrant.shape import missing_indexes
from qwen3_rag_hybrid.stores.qdrant.space import check_space, space_to_write
from qwen3_rag_hybrid.stores.qdrant.tenants import (
    FIRST_TENANTS,
    TENANT,
    of_tenant,
    tenants_of,
    within,
)
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import OVERSAMPLING, SHORT, missing_short, shortened
from qwen3_rag_hybrid.stores.tenants import check_use, check_whole

try:
    import qdrant_edge as engine
except ImportError as error:
    raise MissingExtraError(
        "A collection in a folder needs the package 'qdrant-edge-py'. Install it with: "
        'pip install "qwen3-rag-hybrid[edge]"'
    ) from error

from qwen3_rag_hybrid.stores.qdrant.folder_store import EdgeFolderStore
from qwen3_rag_hybrid.stores.qdrant.layout import (
    KEYS,
    read_hits,
    read_point,
    sparse_name,
    to_point,
    to_sparse,
)

__all__ = ["QdrantEdgeStore"]

_PAGE = 256


class QdrantEdgeStore(EdgeFolderStore):
    """A collection in a folder, searched by Qdrant's engine in this process.

    Safe to share between threads. Only one process at a time can open the folder for writing; any
    other gets a `StoreError` that names the first. Any number can read what `publish` published,
    with `read_only=True`, also meanwhile. Filters are of the class `qdrant_edge.Filter`.

    Example:
        ```python
        with HybridSearcher(QdrantEdgeStore("index"), embedder) as searcher:
            searcher.create(fields={"path": "keyword"})
            searcher.add([Document("a", "Paris is the capital of France.", {"path": "a.md"})])
            searcher.search("What is the capital of France?")
        ```
    """

    can_have_tenants = True
    term_forms = ("sparse",)

    @property
    def keys(self) -> Keys:
        """Payload fields with text, id and tenant."""
        return KEYS if self.tenant is None else replace(KEYS, tenant=TENANT)

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`.

        The collection is created next to its final location and moved there when complete, so a
        killed `create` leaves no partial collection.
        """
        with self._folder.using("Making the collection"):
            known = self._recorded.fields if self._folder.open() else {}
            check_paths(record.fields.keys() - known.keys())
            if not self._folder.open():
                self._folder.make(record)
            kept = self._recorded
            if kept != record:
                refuse(compare(self.name, kept, record))
                self._folder.write_record(replace(record, format=kept.format))
            self._make_indexes(record)

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`."""
        with self._folder.using("Opening the collection"):
            return self._recorded if self._folder.open() else None

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`."""
        with self._folder.using("Recording"):
            self._folder.write_record(record)

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection against the record; see `Store.check`."""
        with self._folder.using("Checking the collection"):
            if not self._folder.open():
                return [self._folder.missing]
            indexed = self._folder.opened().info().payload_schema
            return [
                *missing_short(self.name, record.short_dim, self._recorded.short_dim),
                *missing_indexes(self.name, _indexed(record), indexed),
            ]

    def tenants(self) -> list[str]:
        """List the tenants; see `Store.tenants`."""
        check_whole(self.name, self.tenant)
        with self._folder.using("Listing tenants"):
            shard = self._folder.opened()
            if not self._recorded.tenants:
                return []
            limit = FIRST_TENANTS
            while (
                len(found := shard.facet(engine.FacetRequest(TENANT, limit, exact=True))) == limit
            ):
                limit *= 10
            return tenants_of(found.hits)

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter; see `Store.check_filter`."""
        check_filter(filter, engine.Filter, "qdrant_edge.Filter", fields, KEYS)

    def matching(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """Make a filter; see `Store.matching`."""
        return engine.Filter(
            must=[
                engine.FieldCondition(key=field, match=engine.MatchAny(list(wanted)))
                for field, wanted in values.items()
            ]
        )

    def value_of(self, payload: Mapping[str, Any], field: str) -> Any:
        """Return what a payload has at a path; see `Store.value_of`."""
        return value_at(payload, field)

    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Make the filter to send; see `Store.with_ids`."""
        place = partial(point_id, tenant=self.tenant)
        placed = None if filter is None else self._with_bools(with_places(filter, place))
        if ids is None:
            return placed
        among = engine.HasIdCondition({place(id_) for id_ in ids})
        return engine.Filter(must=[among] if placed is None else [among, placed])

    def selects_all(self, filter: Any) -> bool:
        """Whether a filter has no conditions; see `Store.selects_all`."""
        return filter is None or not has_conditions(filter)

    def check_documents(self, documents: Sequence[Document], record: CollectionRecord) -> None:
        """Reject payloads in which filters would not find a declared field."""
        check_payloads(documents, record.fields)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Store.upsert`. They survive if the process is killed afterwards."""
        with self._folder.using("Writing"):
            shard = self._writing()
            check_space(self.path, space_to_write(points), "writing")
            made = [to_point(point, self._recorded, self.tenant) for point in points]
            shard.update(engine.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`.

        Their terms still count in the IDF until the folder is opened again, or until `optimize`.
        """
        places: list[Any] = [point_id(id_, self.tenant) for id_ in ids]
        with self._folder.using("Deleting"):
            self._writing().update(engine.UpdateOperation.delete_points(places))

    def delete_matching(self, filter: Any) -> None:
        """Delete documents that pass a filter; see `Store.delete_matching` and `delete`."""
        matching = within(engine, self.tenant, filter) or engine.Filter()
        with self._folder.using("Deleting"):
            self._writing().update(engine.UpdateOperation.delete_points_by_filter(matching))

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Search by vector and by terms in one batch; see `Store.search`."""
        with self._folder.using("Searching"):
            shard = self._reading()
            queries = {DENSE: engine.Query.Nearest(query.vector.tolist(), using=DENSE)}
            if len(query.sparse):
                queries[BM25] = engine.Query.Nearest(to_sparse(query.sparse), using=self._sparse)
            own = within(engine, self.tenant, filter)
            requests = []
            for name, one in queries.items():
                first = _first_stage(query, limit, own) if name == DENSE else None
                request = engine.QueryRequest(
                    limit=limit,
                    query=one,
                    prefetches=first,
                    filter=own if first is None else None,  # candidates have passed it
                    params=self._idf if name == BM25 else None,
                    with_payload=[KEYS.id],
                )
                requests.append(request)
            answers = shard.query_batch(engine.QueryBatchRequest(requests))
        ranked: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
        for name, hits in zip(queries, answers, strict=True):
            ranked[name] = read_hits(hits)
        return ranked

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; see `Store.retrieve`."""
        places: list[Any] = [point_id(id_, self.tenant) for id_ in ids]
        with self._folder.using("Reading"):
            records = self._reading().retrieve(places, True, vectors)
            sparse = self._sparse
        points = [read_point(record, sparse, self.keys) for record in records]
        return {point.document.id: point for point in points}

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents; see `Store.scan`."""
        place = None
        while True:
            request = engine.ScrollRequest(
                offset=place,
                limit=_PAGE,
                filter=within(engine, self.tenant, filter),
                with_payload=True,
                with_vector=vectors,
            )
            with self._folder.using("Reading"):
                records, place = self._reading().scroll(request)
                sparse = self._sparse
            for record in records:
                yield read_point(record, sparse, self.keys)
            if place is None:
                return

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        with self._folder.using("Counting"):
            if not self._folder.open():
                return 0
            request = engine.CountRequest(exact=True, filter=within(engine, self.tenant, filter))
            return self._reading().count(request)

    def optimize(self) -> None:
        """Optimise the collection after many changes; may take seconds to minutes.

        Builds the graph index of large collections, frees the space of deleted documents, and
        recounts the terms of the remaining ones. Without it, search is exact; with it, search is
        faster from some tens of thousands of documents on.
        """
        with self._folder.using("Optimizing"):
            self._writing().optimize()
            self._folder.reopen()

    def _reading(self) -> engine.EdgeShard:
        """Give the shard, once it is certain that the tenant fits the collection."""
        shard = self._folder.opened()
        check_use(self.name, self._recorded.tenants, self.tenant)
        return shard

    def _writing(self) -> engine.EdgeShard:
        """Give the shard, once it can be changed."""
        self._folder.opened()
        self._folder.begin()
        return self._reading()

    def _with_bools(self, filter: Any) -> Any:
        """Make a filter with true and false, for which the engine's `MatchValue` has 1 and 0.

        It takes numpy's as they are, and the type of a declared field tells what is meant.
        """
        fields = self._recorded.fields if self._folder.open() else {}

        def with_bool(condition: Any) -> Any:
            match: Any = getattr(condition, "match", None)
            is_number = isinstance(match, engine.MatchValue) and match.value in (0, 1)
            if not is_number or fields.get(condition.key) != "bool":
                return condition
            value: Any = np.bool_(match.value)
            return engine.FieldCondition(key=condition.key, match=engine.MatchValue(value))

        return replaced(filter, with_bool)

    @property
    def _recorded(self) -> CollectionRecord:
        assert self._folder.record is not None  # as the collection is open
        return self._folder.record

    @property
    def _sparse(self) -> str:
        """The name of the sparse vector."""
        return sparse_name(self._recorded)

    @property
    def _idf(self) -> engine.SearchParams | None:
        """Parameters that count how rare a term is in the tenant's documents alone."""
        if self.tenant is None:
            return None
        corpus = of_tenant(engine, self.tenant)
        return engine.SearchParams(idf=engine.IdfParams(corpus=corpus))

    def _make_indexes(self, record: CollectionRecord) -> None:
        shard = self._folder.opened()
        for field, kind in _indexed(record).items():
            if field not in shard.info().payload_schema:
                self._folder.begin()
                shard = self._folder.opened()
                shard.update(engine.UpdateOperation.create_field_index(field, kind))


def _first_stage(query: Query, limit: int, filter: Any) -> list[engine.Prefetch] | None:
    """Make the search for candidates by short vectors, if the collection has them."""
    if query.short_dim is None:
        return None
    short = shortened(query.vector, query.short_dim).tolist()
    nearest = engine.Query.Nearest(short, using=SHORT)
    return [engine.Prefetch(limit=OVERSAMPLING * limit, query=nearest, filter=filter)]


def _indexed(record: CollectionRecord) -> dict[str, Any]:
    """Give the types of the indexes on the declared fields and on the tenant."""
    kinds = {
        field: getattr(engine.PayloadSchemaType, kind.capitalize())
        for field, kind in record.fields.items()
    }
    return {**kinds, TENANT: engine.KeywordIndexParams(is_tenant=True)} if record.tenants else kinds
