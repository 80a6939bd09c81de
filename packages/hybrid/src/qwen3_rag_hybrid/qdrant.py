"""Any `QdrantClient`: local mode in memory or in a folder, or a server.

The one place that imports qdrant_client. Knows its requests, its locks and where a collection
keeps the record; knows no model and no fusion. The client belongs to the caller.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from qwen3_rag.errors import InputTypeError, MissingExtraError, Qwen3RagError, StoreError
from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Id, Keys, Point, from_payload, point_id, to_payload
from qwen3_rag_hybrid.filters import check_filter
from qwen3_rag_hybrid.legs import DENSE, LEXICAL, Ranked
from qwen3_rag_hybrid.qdrant_shape import check_shape
from qwen3_rag_hybrid.settings import CollectionSettings, Finding, compare, refuse

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

# One per client, whichever searchers share it: local mode loses its balance when two threads
# write, or one reads while another writes.
_guards: weakref.WeakKeyDictionary[QdrantClient, threading.RLock] = weakref.WeakKeyDictionary()
_guards_guard = threading.Lock()


class QdrantStore:
    """A collection behind a `QdrantClient` of yours: `":memory:"`, `path=` or a server.

    Writes wait for each other; in local mode reads do too. Filters are
    `qdrant_client.models.Filter`, passed through. The client stays yours to close.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        *,
        dense: str = DENSE,
        lexical: str = LEXICAL,
        text_key: str = "text",
        id_key: str = "_id",
    ) -> None:
        """Keep the settings; the store is first asked when it is used.

        Args:
            client: A `qdrant_client.QdrantClient`.
            collection: The collection's name there.
            dense: Name of the dense vector; `""` for a collection's unnamed one.
            lexical: Name of the sparse vector.
            text_key: Payload field with the document's text.
            id_key: Payload field with the document's own id.
        """
        if not isinstance(client, QdrantClient):
            raise InputTypeError(
                f"`client` must be a qdrant_client.QdrantClient, got {type(client).__name__}. The "
                "searcher's async methods need no other: they wait for it on a thread."
            )
        self.client = client
        self.collection = collection
        self._dense, self._lexical = dense, lexical
        self._keys = Keys(text_key, id_key)
        with _guards_guard:
            self._guard = _guards.setdefault(client, threading.RLock())

    @property
    def name(self) -> str:
        """The collection, for messages."""
        return f"The collection {self.collection!r}"

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text and id."""
        return self._keys

    @property
    def is_local(self) -> bool:
        """Whether the client keeps the collection in this process."""
        options = self.client.init_options
        return options.get("location") == ":memory:" or options.get("path") is not None

    def create(self, settings: CollectionSettings, *, adopt: bool = False) -> None:
        """Make the collection and record the settings; see `Legs.create`.

        A collection of yours that fits is taken as it is; only the record and missing payload
        indexes are added to it.
        """
        with self._writing("Making"):
            if not self.client.collection_exists(self.collection):
                self._make(settings)
            elif self._recorded() != settings:
                self._take_over(settings, adopt)
            self._make_indexes(settings)
            if self._recorded() != settings:
                raise StoreError(
                    f"{self.name} did not keep its record, as Qdrant servers before 1.16 do. "
                    "Update the server."
                )

    def settings(self) -> CollectionSettings | None:
        """Give the record; see `Legs.settings`."""
        with self._reading("Reading the record of"):
            if not self.client.collection_exists(self.collection):
                return None
            return self._recorded()

    def check(self, settings: CollectionSettings) -> list[Finding]:
        """Compare what is kept with what is needed; see `Legs.check`."""
        with self._reading("Checking"):
            if not self.client.collection_exists(self.collection):
                return [self._missing()]
            info = self.client.get_collection(self.collection)
        findings = check_shape(
            self.name, info.config.params, self._dense, self._lexical, settings.dim
        )
        if not self.is_local:  # where indexes have no effect, nothing is missed
            findings += [
                Finding(
                    "index",
                    "warning",
                    f"{self.name} has no index on the field {field!r}, so filters on it read "
                    "every document.",
                    "Call `create()` again: it makes what is missing.",
                )
                for field in settings.fields
                if field not in info.payload_schema
            ]
        return findings

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Refuse a filter that cannot be meant; see `Legs.check_filter`."""
        wanted = "qdrant_client.models.Filter"
        check_filter(filter, models.Filter, wanted, fields, self._keys)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Legs.upsert`."""
        made = [self._point(point) for point in points]
        with self._writing("Writing to"):
            self.client.upsert(self.collection, made, wait=True)

    def delete(self, ids: Sequence[Id]) -> None:
        """Remove documents; see `Legs.delete`."""
        selector = models.PointIdsList(points=[point_id(id_) for id_ in ids])
        with self._writing("Deleting from"):
            self.client.delete(self.collection, selector, wait=True)

    def search(
        self, dense: FloatArray, lexical: SparseVector, *, limit: int, filter: Any = None
    ) -> Ranked:
        """Ask both legs in one round trip; see `Legs.search`."""
        queries: dict[str, Any] = {DENSE: (dense.tolist(), self._dense or None)}
        if len(lexical):
            queries[LEXICAL] = (_sparse(lexical), self._lexical)
        requests = [
            models.QueryRequest(
                query=query,
                using=using,
                filter=filter,
                limit=limit,
                with_payload=models.PayloadSelectorInclude(include=[self._keys.id]),
            )
            for query, using in queries.values()
        ]
        with self._reading("Searching"):
            answers = self.client.query_batch_points(self.collection, requests)
        ranked: Ranked = {DENSE: [], LEXICAL: []}
        for leg, answer in zip(queries, answers, strict=True):
            ranked[leg] = [
                ((hit.payload or {}).get(self._keys.id, hit.id), hit.score) for hit in answer.points
            ]
        return ranked

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look documents up; see `Legs.retrieve`."""
        places: list[Any] = [point_id(id_) for id_ in ids]
        with self._reading("Reading"):
            records = self.client.retrieve(
                self.collection, places, with_payload=True, with_vectors=vectors
            )
        points = [self._read(record) for record in records]
        return {point.document.id: point for point in points}

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Go through all documents; see `Legs.scan`."""
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
            yield from map(self._read, records)
            if place is None:
                return

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Legs.count`."""
        with self._reading("Counting"):
            if not self.client.collection_exists(self.collection):
                return 0
            return self.client.count(self.collection, count_filter=filter, exact=True).count

    def close(self) -> None:
        """Do nothing: the client is the caller's."""

    def _recorded(self) -> CollectionSettings | None:
        metadata = self.client.get_collection(self.collection).config.metadata or {}
        record = metadata.get(_RECORD)
        if record is None:
            return None
        try:
            return CollectionSettings.from_dict(record)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The record of {self.name.lower()} cannot be read ({error}). A later release of "
                "qwen3-rag-hybrid may have written it: update this one."
            ) from error

    def _make(self, settings: CollectionSettings) -> None:
        dense = models.VectorParams(size=settings.dim, distance=models.Distance.COSINE)
        self.client.create_collection(
            self.collection,
            vectors_config={self._dense: dense} if self._dense else dense,
            sparse_vectors_config={
                self._lexical: models.SparseVectorParams(modifier=models.Modifier.IDF)
            },
            metadata={_RECORD: settings.as_dict()},
        )

    def _take_over(self, settings: CollectionSettings, adopt: bool) -> None:
        """Put the record on a collection that is there, if that is not a lie."""
        refuse(self.check(settings))
        recorded = self._recorded()
        if recorded is not None:
            refuse(compare(self.name, recorded, settings))
        elif not adopt and self.client.count(self.collection, exact=True).count:
            raise StoreError(
                f"{self.name} has points in it but no record of the model they were made with. If "
                f"they are vectors of {settings.model!r} and of this lexical encoder, take it over "
                "with `create(adopt=True)`; otherwise choose another name."
            )
        self.client.update_collection(self.collection, metadata={_RECORD: settings.as_dict()})

    def _make_indexes(self, settings: CollectionSettings) -> None:
        if self.is_local:
            return
        indexed = self.client.get_collection(self.collection).payload_schema
        for field in settings.fields.keys() - indexed.keys():
            schema = models.PayloadSchemaType(settings.fields[field])
            self.client.create_payload_index(self.collection, field, schema, wait=True)

    def _missing(self) -> Finding:
        return Finding(
            "missing",
            "error",
            f"There is no collection {self.collection!r}.",
            "Make it with `create()`, and check the name.",
        )

    def _point(self, point: Point) -> models.PointStruct:
        assert point.dense is not None
        vectors: dict[str, Any] = {self._dense: point.dense.tolist()}
        if point.lexical is not None and len(point.lexical):
            vectors[self._lexical] = _sparse(point.lexical)
        return models.PointStruct(
            id=point_id(point.document.id),
            vector=vectors,
            payload=to_payload(point.document, self._keys),
        )

    def _read(self, record: models.Record) -> Point:
        vectors: Any = record.vector
        if not isinstance(vectors, dict):
            vectors = {} if vectors is None else {"": vectors}
        dense, lexical = vectors.get(self._dense), vectors.get(self._lexical)
        return Point(
            from_payload(record.id, record.payload or {}, self._keys),  # type: ignore[arg-type]
            None if dense is None else np.asarray(dense, dtype=np.float32),
            None
            if lexical is None
            else SparseVector(
                np.asarray(lexical.indices, dtype=np.uint32),
                np.asarray(lexical.values, dtype=np.float32),
            ),
        )

    def _reading(self, action: str) -> AbstractContextManager[None]:
        return self._asking(action, self._guard if self.is_local else nullcontext())

    def _writing(self, action: str) -> AbstractContextManager[None]:
        return self._asking(action, self._guard)

    @contextmanager
    def _asking(self, action: str, guard: AbstractContextManager[Any]) -> Iterator[None]:
        """Turn what the client raises, which depends on its transport, into `StoreError`."""
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


def _sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
