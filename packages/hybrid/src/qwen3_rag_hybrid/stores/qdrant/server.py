"""`QdrantStore`: a collection accessed through any `QdrantClient`, on a server or in local mode."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from qwen3_rag.errors import InputTypeError, MissingExtraError, Qwen3RagError, StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.lexical import SparseVector
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Keys, Point, from_payload, point_id, to_payload
from qwen3_rag_hybrid.stores.base import Query, Store
from qwen3_rag_hybrid.stores.qdrant.filters import check_filter
from qwen3_rag_hybrid.stores.qdrant.shape import check_shape, missing_indexes
from qwen3_rag_hybrid.stores.record import (
    CollectionRecord,
    Finding,
    adopted,
    no_collection,
    refuse,
)

try:
    from qdrant_client import QdrantClient, models
except ImportError as error:
    raise MissingExtraError(
        "A collection behind a Qdrant client needs the package 'qdrant-client'. Install it with: "
        'pip install "qwen3-rag-hybrid[qdrant]"'
    ) from error

__all__ = ["QdrantStore"]

_RECORD = "qwen3_rag"
_PAGE = 256
_OLD_SPARSE = "lexical"

# One lock per client, even if several searchers share it: in local mode, concurrent writes, or a
# read during a write, break the collection.
_guards: weakref.WeakKeyDictionary[QdrantClient, threading.RLock] = weakref.WeakKeyDictionary()
_guards_guard = threading.Lock()


class QdrantStore(Store):
    """A collection accessed through your own `QdrantClient`: `":memory:"`, `path=` or a server.

    Writes wait for each other; in local mode, reads do too. Filters are of the class
    `qdrant_client.models.Filter`. Closing the client is up to you.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        *,
        dense: str = DENSE,
        sparse: str | None = None,
        text_key: str = "text",
        id_key: str = "_id",
    ) -> None:
        """Set the collection's name; no request is sent before the first use.

        Args:
            client: A `qdrant_client.QdrantClient`.
            collection: Name of the collection.
            dense: Name of the dense vector; `""` for a collection's unnamed one.
            sparse: Name of the sparse vector; `"bm25"` when omitted, or `"lexical"` in a collection
                that an earlier release created.
            text_key: Payload field with the document's text.
            id_key: Payload field with the document's own id.
        """
        if not isinstance(client, QdrantClient):
            raise InputTypeError(
                f"`client` must be a qdrant_client.QdrantClient, got {type(client).__name__}. The "
                "searcher's async methods work with it too: they call it on a thread."
            )
        self.client = client
        self.collection = collection
        self._dense, self._sparse = dense, sparse
        self._found_sparse: str | None = None
        self._keys = Keys(text_key, id_key)
        with _guards_guard:
            self._guard = _guards.setdefault(client, threading.RLock())

    @property
    def name(self) -> str:
        """The collection's name for error messages."""
        return f"The collection {self.collection!r}"

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text and id."""
        return self._keys

    @property
    def is_local(self) -> bool:
        """Whether the client runs in local mode."""
        options = self.client.init_options
        return options.get("location") == ":memory:" or options.get("path") is not None

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`.

        An existing collection that matches is used unchanged, except that the record and missing
        payload indexes are added.
        """
        with self._writing("Making"):
            if not self.client.collection_exists(self.collection):
                self._make(record)
            elif self._recorded() != record:
                self._take_over(record, adopt)
            self._make_indexes(record)
            if self._recorded() != record:
                raise StoreError(
                    f"{self.name} did not keep its record, as Qdrant servers before 1.16 do. "
                    "Update the server."
                )

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`."""
        with self._reading("Reading the record of"):
            if not self.client.collection_exists(self.collection):
                return None
            return self._recorded()

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`."""
        with self._writing("Recording"):
            self.client.update_collection(self.collection, metadata={_RECORD: record.as_dict()})

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection against the record; see `Store.check`."""
        with self._reading("Checking"):
            if not self.client.collection_exists(self.collection):
                return [no_collection(self.collection)]
            info = self.client.get_collection(self.collection)
        parameters = info.config.params
        sparse = self._sparse or _sparse_name(parameters)
        self._found_sparse = sparse
        findings = check_shape(self.name, parameters, self._dense, sparse, record.dim)
        if not self.is_local:  # in local mode, indexes have no effect
            findings += missing_indexes(self.name, record.fields, info.payload_schema)
        return findings

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter; see `Store.check_filter`."""
        wanted = "qdrant_client.models.Filter"
        check_filter(filter, models.Filter, wanted, fields, self._keys)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Store.upsert`."""
        with self._writing("Writing to"):
            sparse = self._sparse_name()
            # A server accepts 32 MB per request, which 2,000 points of 1,024 numbers exceed.
            for start in range(0, len(points), _PAGE):
                made = [self._point(point, sparse) for point in points[start : start + _PAGE]]
                self.client.upsert(self.collection, made, wait=True)

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`."""
        selector = models.PointIdsList(points=[point_id(id_) for id_ in ids])
        with self._writing("Deleting from"):
            self.client.delete(self.collection, selector, wait=True)

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Search by vector and by terms in one round trip; see `Store.search`."""
        with self._reading("Searching"):
            queries: dict[str, Any] = {DENSE: (query.vector.tolist(), self._dense or None)}
            if len(query.sparse):
                queries[BM25] = (_to_sparse(query.sparse), self._sparse_name())
            requests = [
                models.QueryRequest(
                    query=one,
                    using=using,
                    filter=filter,
                    limit=limit,
                    with_payload=models.PayloadSelectorInclude(include=[self._keys.id]),
                )
                for one, using in queries.values()
            ]
            answers = self.client.query_batch_points(self.collection, requests)
        ranked: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
        for name, answer in zip(queries, answers, strict=True):
            ranked[name] = [
                ((hit.payload or {}).get(self._keys.id, hit.id), hit.score) for hit in answer.points
            ]
        return ranked

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; see `Store.retrieve`."""
        places: list[Any] = [point_id(id_) for id_ in ids]
        with self._reading("Reading"):
            records = self.client.retrieve(
                self.collection, places, with_payload=True, with_vectors=vectors
            )
            sparse = self._sparse_name() if vectors else ""
        points = [self._read(record, sparse) for record in records]
        return {point.document.id: point for point in points}

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents; see `Store.scan`."""
        place: Any = None
        while True:
            with self._reading("Reading"):
                records, place = self.client.scroll(
                    self.collection,
                    scroll_filter=filter,
                    limit=_PAGE,
                    offset=place,
                    with_payload=True,
                    with_vectors=vectors,
                )
                sparse = self._sparse_name() if vectors else ""
            for record in records:
                yield self._read(record, sparse)
            if place is None:
                return

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        with self._reading("Counting"):
            if not self.client.collection_exists(self.collection):
                return 0
            return self.client.count(self.collection, count_filter=filter, exact=True).count

    def close(self) -> None:
        """Do nothing: the client belongs to the caller."""

    def _recorded(self) -> CollectionRecord | None:
        metadata = self.client.get_collection(self.collection).config.metadata or {}
        record = metadata.get(_RECORD)
        if record is None:
            return None
        try:
            return CollectionRecord.from_dict(record)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The record of the collection {self.collection!r} cannot be read ({error}). A "
                "later release of qwen3-rag-hybrid may have written it: update this one."
            ) from error

    def _make(self, record: CollectionRecord) -> None:
        dense = models.VectorParams(size=record.dim, distance=models.Distance.COSINE)
        self.client.create_collection(
            self.collection,
            vectors_config={self._dense: dense} if self._dense else dense,
            sparse_vectors_config={
                self._sparse or BM25: models.SparseVectorParams(modifier=models.Modifier.IDF)
            },
            metadata={_RECORD: record.as_dict()},
        )

    def _take_over(self, record: CollectionRecord, adopt: bool) -> None:
        """Add the record to an existing collection, if the collection matches it."""
        refuse(self.check(record))
        record = adopted(self.name, self._recorded(), record, adopt=adopt, count=self.count)
        self.client.update_collection(self.collection, metadata={_RECORD: record.as_dict()})

    def _make_indexes(self, record: CollectionRecord) -> None:
        if self.is_local:
            return
        indexed = self.client.get_collection(self.collection).payload_schema
        for field in record.fields.keys() - indexed.keys():
            schema = models.PayloadSchemaType(record.fields[field])
            self.client.create_payload_index(self.collection, field, schema, wait=True)

    def _sparse_name(self) -> str:
        """Return the sparse vector's name: the caller's, or the one in the collection."""
        if self._sparse is not None:
            return self._sparse
        if self._found_sparse is None:
            info = self.client.get_collection(self.collection)
            self._found_sparse = _sparse_name(info.config.params)
        return self._found_sparse

    def _point(self, point: Point, sparse: str) -> models.PointStruct:
        assert point.dense is not None
        vectors: dict[str, Any] = {self._dense: point.dense.tolist()}
        if point.sparse is not None and len(point.sparse):
            vectors[sparse] = _to_sparse(point.sparse)
        return models.PointStruct(
            id=point_id(point.document.id),
            vector=vectors,
            payload=to_payload(point.document, self._keys),
        )

    def _read(self, record: models.Record, sparse: str) -> Point:
        vectors: Any = record.vector
        if not isinstance(vectors, dict):
            vectors = {} if vectors is None else {"": vectors}
        dense, terms = vectors.get(self._dense), vectors.get(sparse)
        return Point(
            from_payload(record.id, record.payload or {}, self._keys),  # type: ignore[arg-type]
            None if dense is None else np.asarray(dense, dtype=np.float32),
            None
            if terms is None
            else SparseVector(
                np.asarray(terms.indices, dtype=np.uint32),
                np.asarray(terms.values, dtype=np.float32),
            ),
        )

    def _reading(self, action: str) -> AbstractContextManager[None]:
        return self._asking(action, self._guard if self.is_local else nullcontext())

    def _writing(self, action: str) -> AbstractContextManager[None]:
        return self._asking(action, self._guard)

    @contextmanager
    def _asking(self, action: str, guard: AbstractContextManager[Any]) -> Iterator[None]:
        """Convert the client's errors, which depend on its transport, to `StoreError`."""
        try:
            with guard:
                yield
        except Qwen3RagError:
            raise
        except Exception as error:
            raise StoreError(
                f"{action} {self.name[0].lower()}{self.name[1:]} failed: "
                f"{type(error).__name__}: {error}"
            ) from error


def _sparse_name(parameters: models.CollectionParams) -> str:
    """Find the name that `create` gave the sparse vector, in this release or an earlier one."""
    names = parameters.sparse_vectors or {}
    return _OLD_SPARSE if _OLD_SPARSE in names and BM25 not in names else BM25


def _to_sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
