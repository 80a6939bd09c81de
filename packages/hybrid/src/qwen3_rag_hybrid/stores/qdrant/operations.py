"""`Operations` on a Qdrant collection, for the blocking client and for the async one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from qdrant_client import QdrantClient, models

from qwen3_rag.errors import StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Flow
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.findings import Finding, adopted, no_collection, refuse, taken
from qwen3_rag_hybrid.stores.qdrant.described import RECORD, Described
from qwen3_rag_hybrid.stores.qdrant.paths import check_paths
from qwen3_rag_hybrid.stores.qdrant.points import batches, read_id, to_point, to_sparse
from qwen3_rag_hybrid.stores.qdrant.shape import (
    old_idf,
)
from qwen3_rag_hybrid.stores.qdrant.tenants import TENANT, of_tenant, within
from qwen3_rag_hybrid.stores.qdrant.terms import ONLY_VECTOR, add_sparse, renewals
from qwen3_rag_hybrid.stores.qdrant.vectors import dense_vectors, first_stage
from qwen3_rag_hybrid.stores.record import CollectionRecord

__all__ = ["Operations"]

F = TypeVar("F", bound=Callable[..., Flow[Any]])

_PAGE = 256

# Each tenant's vectors get a graph of their own, as they are never searched together.
_TENANT_GRAPHS = models.HnswConfigDiff(m=0, payload_m=16)


def _doing(action: str) -> Callable[[F], F]:
    """Convert the client's errors in a flow to `StoreError`s that name the action."""

    def decorate(method: F) -> F:
        @wraps(method)
        def flow(self: Operations, *args: Any, **kwargs: Any) -> Flow[Any]:
            return self._requests.doing(action, method(self, *args, **kwargs))

        return cast(F, flow)

    return decorate


class Operations(Described):
    """The methods of `Store` as flows; each sends its requests by the client it is run for."""

    @_doing("Making")
    def create(self, record: CollectionRecord, adopt: bool) -> Flow[None]:
        """See `Store.create`."""
        exists = yield self._exists()
        recorded = (yield from self._recorded()) if exists else None
        check_paths(record.fields.keys() - (recorded.fields.keys() if recorded else ()))
        made = not exists and (yield from self._make(record))
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
        metadata = {RECORD: record.as_dict()}
        yield self._requests.ask(
            lambda client: client.update_collection(self._collection, metadata=metadata)
        )

    @_doing("Checking")
    def check(self, record: CollectionRecord) -> Flow[list[Finding]]:
        """See `Store.check`."""
        if not (yield self._exists()):
            return [no_collection(self._collection)]
        findings = yield from self._findings(record)
        if record.tenants and not self._is_local:
            version = (yield self._requests.ask(lambda client: client.info())).version
            findings += old_idf(self._name, version)
        return findings

    @_doing("Listing the tenants of")
    def facet(self, limit: int) -> Flow[list[models.FacetValueHit]]:
        """Count the documents of up to `limit` tenants; none if the collection has no tenants."""
        if not (yield from self._has_tenants()):
            return []
        found = yield self._requests.ask(
            lambda client: client.facet(self._collection, TENANT, limit=limit, exact=True)
        )
        hits: list[models.FacetValueHit] = found.hits
        return hits

    @_doing("Writing to")
    def upsert(self, points: Sequence[Point]) -> Flow[None]:
        """See `Store.upsert`."""
        yield from self._check_use(writing=True)
        names = yield from self._vector_names()
        for batch in batches(points):
            made = [to_point(point, self._layout, names) for point in batch]
            yield from self._requests.write(partial(_upsert, self._collection, made))

    @_doing("Renewing the terms of")
    def renew_terms(self, points: Sequence[Point]) -> Flow[None]:
        """See `Store.renew_terms`."""
        yield from self._check_use(writing=True)
        names = yield from self._vector_names()
        if names.sparse is None:
            if not self._layout.takes_terms(names):
                raise StoreError(f"{self._name} cannot get BM25 terms. {ONLY_VECTOR}")
            yield self._requests.ask(partial(add_sparse, self._collection))
            self._found.names = names = replace(names, sparse=BM25)
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
        matching = self._within(filter) or models.Filter()
        return self._delete(models.FilterSelector(filter=matching))

    @_doing("Searching")
    def search(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        """See `Store.search`."""
        yield from self._check_use()
        names = yield from self._vector_names()
        queries: dict[str, Any] = {DENSE: (query.vector.tolist(), names.dense or None)}
        if len(query.sparse):
            queries[BM25] = (to_sparse(query.sparse), names.sparse)
        own = self._within(filter)
        requests = []
        for name, (one, using) in queries.items():
            first = first_stage(query, limit, own) if name == DENSE else None
            request = models.QueryRequest(
                prefetch=first,
                query=one,
                using=using,
                filter=own if first is None else None,  # candidates have passed it
                params=self._idf if name == BM25 else None,
                limit=limit,
                with_payload=models.PayloadSelectorInclude(include=[self._layout.keys.id]),
            )
            requests.append(request)
        answers = yield self._requests.ask(
            lambda client: client.query_batch_points(self._collection, requests)
        )
        ranked: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
        for name, answer in zip(queries, answers, strict=True):
            ranked[name] = [(read_id(hit, self._layout), hit.score) for hit in answer.points]
        return ranked

    @_doing("Reading")
    def retrieve(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        """See `Store.retrieve`."""
        yield from self._check_use()
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
        yield from self._check_use()
        records, next_start = yield self._requests.ask(
            lambda client: client.scroll(
                self._collection,
                scroll_filter=self._within(filter),
                limit=_PAGE,
                offset=start,
                with_payload=True,
                with_vectors=vectors,
            )
        )
        return (yield from self._points(records)), next_start

    @_doing("Moving an alias to")
    def move_alias(self, alias: str) -> Flow[None]:
        """See `Store.move_alias`."""
        # All changes of one request happen at once.
        changes: list[Any] = [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=self._collection, alias_name=alias)
            )
        ]
        found = (yield self._requests.ask(lambda client: client.get_aliases())).aliases
        if any(one.alias_name == alias for one in found):
            gone = models.DeleteAlias(alias_name=alias)
            changes.insert(0, models.DeleteAliasOperation(delete_alias=gone))
        elif (yield self._requests.ask(lambda client: client.collection_exists(alias))):
            raise StoreError(taken(alias))
        yield self._requests.ask(lambda client: client.update_collection_aliases(changes))

    @_doing("Counting")
    def count(self, filter: Any) -> Flow[int]:
        """See `Store.count`."""
        if not (yield self._exists()):
            return 0
        yield from self._check_use()
        return (yield from self._count(self._within(filter)))

    @_doing("Deleting from")
    def _delete(self, selector: models.PointIdsList | models.FilterSelector) -> Flow[None]:
        yield from self._check_use(writing=True)
        yield from self._requests.write(
            lambda client: client.delete(self._collection, selector, wait=True)
        )

    def _make(self, record: CollectionRecord) -> Flow[bool]:
        """Make the collection; return `False` if another program did so in the meantime."""
        names = self._layout.names(None)
        dense = dense_vectors(names.dense, record, is_foreign=self._layout.is_foreign)
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        try:
            yield self._requests.ask(
                lambda client: client.create_collection(
                    self._collection,
                    vectors_config=dense,
                    sparse_vectors_config={names.sparse or BM25: sparse},
                    hnsw_config=_TENANT_GRAPHS if record.tenants else None,
                    metadata={RECORD: record.as_dict()},
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
        if record.tenants and recorded is None:
            yield from self._check_adopted()
        count = 0 if recorded or adopt else (yield from self._count(None))
        record = adopted(self._name, recorded, record, adopt=adopt, count=lambda: count)
        yield from self.write_record(record)
        return record

    def _make_indexes(self, record: CollectionRecord) -> Flow[None]:
        if self._is_local:
            return
        indexed = (yield self._info()).payload_schema
        for field, kind in self._indexes(record).items():
            if field not in indexed:
                yield self._requests.ask(partial(_make_index, self._collection, field, kind))

    def _check_adopted(self) -> Flow[None]:
        """Reject documents that no tenant would find."""
        without = models.IsEmptyCondition(is_empty=models.PayloadField(key=TENANT))
        count = yield from self._count(models.Filter(must=[without]))
        if count:
            raise StoreError(
                f"{self._name} has {count} documents without a tenant, which none would find. Make "
                "a new collection with `create(tenants=True)`, and add them again."
            )

    def _within(self, filter: Any) -> Any:
        """Restrict the caller's filter to the tenant."""
        return within(models, self._layout.tenant, filter)

    @property
    def _idf(self) -> models.SearchParams | None:
        """Parameters that count how rare a term is in the tenant's documents alone."""
        if self._layout.tenant is None or not hasattr(models, "IdfCorpusParams"):
            return None  # clients before 1.19 cannot ask for it
        corpus = of_tenant(models, self._layout.tenant)
        return models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus))


def _upsert(collection: str, points: list[models.PointStruct], client: QdrantClient) -> Any:
    return client.upsert(collection, points, wait=True)


def _make_index(collection: str, field: str, kind: Any, client: QdrantClient) -> Any:
    return client.create_payload_index(collection, field, kind, wait=True)
