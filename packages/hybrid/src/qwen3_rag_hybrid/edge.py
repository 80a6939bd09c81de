"""Qdrant Edge: the server's engine inside this process, the collection in a folder.

The one place that imports qdrant_edge. Knows the folder's layout, its lock and what the engine
calls things; knows no model and no fusion.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_rag.errors import MissingExtraError, Qwen3RagError, StoreError
from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Id, Keys, Point, from_payload, point_id, to_payload
from qwen3_rag_hybrid.filters import check_filter
from qwen3_rag_hybrid.folder import FolderLock, read_record, write_record
from qwen3_rag_hybrid.legs import DENSE, LEXICAL, Ranked
from qwen3_rag_hybrid.settings import CollectionSettings, Finding, compare, refuse

try:
    import qdrant_edge as engine
except ImportError as error:
    raise MissingExtraError(
        "A collection in a folder needs the package 'qdrant-edge-py'. Install it with: "
        'pip install "qwen3-rag-hybrid[edge]"'
    ) from error

__all__ = ["QdrantEdgeStore"]

_PAGE = 256
_KEYS = Keys()


class QdrantEdgeStore:
    """A collection in a folder, searched by Qdrant's engine inside this process.

    Safe to share between threads. One process at a time holds the folder; another that tries gets
    a `StoreError` which names the holder. Filters are `qdrant_edge.Filter`, passed through.

    Example:
        ```python
        with HybridSearcher(QdrantEdgeStore("index"), embedder) as searcher:
            searcher.create(fields={"path": "keyword"})
            searcher.add([Document("a", "Paris is the capital of France.", {"path": "a.md"})])
            searcher.search("What is the capital of France?")
        ```
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the collection if there is one; nothing is written before `create`.

        Args:
            path: The folder; `create` makes it.

        Raises:
            StoreError: Another process holds the folder, or it cannot be written to or is damaged.
        """
        self.path = Path(path).expanduser().absolute()
        self._folder = self.path / "collection"
        # The engine holds the interpreter's lock while it works, so a lock around it costs
        # nothing, and no search meets a shard that is being closed.
        self._guard = threading.RLock()
        self._lock = FolderLock(self.path / "lock")
        self._pid = os.getpid()
        self._shard: engine.EdgeShard | None = None
        self._settings: CollectionSettings | None = None
        self._closed = False
        with self._guard:
            self._open()

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return f"The collection in {str(self.path)!r}"

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text and id."""
        return _KEYS

    def create(self, settings: CollectionSettings, *, adopt: bool = False) -> None:
        """Make the collection and record the settings; see `Legs.create`.

        A killed `create` leaves nothing behind that counts: the collection is made beside its
        place and moved there when it is whole.
        """
        with self._using("Making the collection"):
            if not self._open():
                self._make(settings)
            recorded = self._settings
            if recorded is not None and recorded != settings:
                refuse(compare(self.name, recorded, settings))
                write_record(self._folder, settings)
                self._settings = settings
            self._make_indexes(settings)

    def settings(self) -> CollectionSettings | None:
        """Give the record; see `Legs.settings`."""
        with self._using("Opening the collection"):
            return self._settings if self._open() else None

    def check(self, settings: CollectionSettings) -> list[Finding]:
        """Compare what is kept with what is needed; see `Legs.check`."""
        with self._using("Checking the collection"):
            if not self._open():
                return [self._missing()]
            indexed = self._opened().info().payload_schema
            return [
                Finding(
                    "index",
                    "warning",
                    f"{self.name} has no index on the field {field!r}, so filters on it read "
                    "every document.",
                    "Call `create()` again: it makes what is missing.",
                )
                for field in settings.fields
                if field not in indexed
            ]

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Refuse a filter that cannot be meant; see `Legs.check_filter`."""
        check_filter(filter, engine.Filter, "qdrant_edge.Filter", fields, _KEYS)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Legs.upsert`. Killed afterwards, the process loses none of them."""
        made = [_point(point) for point in points]
        with self._using("Writing"):
            self._opened().update(engine.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[Id]) -> None:
        """Remove documents; see `Legs.delete`.

        The engine goes on counting their words for the weights of terms until the folder is opened
        again, or until `optimize`.
        """
        places: list[Any] = [point_id(id_) for id_ in ids]
        with self._using("Deleting"):
            self._opened().update(engine.UpdateOperation.delete_points(places))

    def search(
        self, dense: FloatArray, lexical: SparseVector, *, limit: int, filter: Any = None
    ) -> Ranked:
        """Ask both legs in one batch; see `Legs.search`."""
        queries = {DENSE: engine.Query.Nearest(dense.tolist(), using=DENSE)}
        if len(lexical):
            queries[LEXICAL] = engine.Query.Nearest(_sparse(lexical), using=LEXICAL)
        batch = engine.QueryBatchRequest(
            [
                engine.QueryRequest(
                    limit=limit, query=query, filter=filter, with_payload=[_KEYS.id]
                )
                for query in queries.values()
            ]
        )
        ranked: Ranked = {DENSE: [], LEXICAL: []}
        with self._using("Searching"):
            answers = self._opened().query_batch(batch)
        for leg, hits in zip(queries, answers, strict=True):
            ranked[leg] = [(_own_id(hit), hit.score) for hit in hits]
        return ranked

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look documents up; see `Legs.retrieve`."""
        places: list[Any] = [point_id(id_) for id_ in ids]
        with self._using("Reading"):
            records = self._opened().retrieve(places, True, vectors)
        points = [_read(record) for record in records]
        return {point.document.id: point for point in points}

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Go through all documents; see `Legs.scan`."""
        place = None
        while True:
            request = engine.ScrollRequest(
                offset=place, limit=_PAGE, filter=filter, with_payload=True, with_vector=vectors
            )
            with self._using("Reading"):
                records, place = self._opened().scroll(request)
            yield from map(_read, records)
            if place is None:
                return

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Legs.count`."""
        with self._using("Counting"):
            if not self._open():
                return 0
            return self._opened().count(engine.CountRequest(exact=True, filter=filter))

    def optimize(self) -> None:
        """Tidy up after many changes; may take seconds to minutes.

        Builds the graph index of large collections, gives back the space of deleted documents,
        and counts the words of those that are left anew. Searching never needs it, and is exact
        without it; from some tens of thousands of documents on it is faster with it.
        """
        with self._using("Optimizing"):
            self._opened().optimize()
            self._shut()
            self._open()

    def close(self) -> None:
        """Write what is pending and give the folder free. Twice is fine."""
        if self._pid != os.getpid():
            return
        with self._guard:
            self._closed = True
            try:
                self._shut()
            finally:
                self._lock.release()

    def __reduce__(self) -> Any:
        raise StoreError(
            f"{self.name} is open in this process and cannot be pickled or copied. Send the path, "
            "and open it there once this process has closed it."
        )

    def _open(self) -> bool:
        """Open the collection if it is there; tell whether it is open now."""
        if self._shard is not None:
            return True
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{str(self.path)!r} is a file. Give a folder.")
        if not self._folder.exists():
            return False
        self._lock.acquire()
        try:
            with _engine_errors(f"Opening {str(self.path)!r}", self._damaged):
                settings = read_record(self._folder)
                # With the configuration the engine checks that the shard fits it.
                self._shard = engine.EdgeShard.load(
                    str(self._folder / "shard"), _configuration(settings)
                )
                self._settings = settings
        except BaseException:
            self._lock.release()
            raise
        return True

    def _make(self, settings: CollectionSettings) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {str(self.path)!r} cannot be made ({error.strerror}). Choose one you "
                "may write to."
            ) from error
        self._lock.acquire()
        if not self._folder.exists():  # another process may have made it before the lock was free
            unfinished = self.path / "collection.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / "shard").mkdir(parents=True)
            engine.EdgeShard.create(str(unfinished / "shard"), _configuration(settings)).close()
            write_record(unfinished, settings)
            unfinished.rename(self._folder)
        self._open()

    def _make_indexes(self, settings: CollectionSettings) -> None:
        shard = self._opened()
        for field in settings.fields.keys() - shard.info().payload_schema.keys():
            kind = getattr(engine.PayloadSchemaType, settings.fields[field].capitalize())
            shard.update(engine.UpdateOperation.create_field_index(field, kind))

    def _shut(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.flush()
            shard.close()

    def _opened(self) -> engine.EdgeShard:
        if self._shard is None and not self._open():
            raise StoreError(str(self._missing()))
        assert self._shard is not None
        return self._shard

    def _missing(self) -> Finding:
        return Finding(
            "missing",
            "error",
            f"There is no collection in {str(self.path)!r}.",
            "Make it with `create()`, and check the path.",
        )

    @property
    def _damaged(self) -> str:
        return (
            f"{self.name} is damaged. Restore the folder from a copy, or delete it and add the "
            "documents again."
        )

    @contextmanager
    def _using(self, action: str) -> Iterator[None]:
        if self._pid != os.getpid():
            raise StoreError(
                f"{self.name} was opened by process {self._pid}, and this is its forked child "
                f"{os.getpid()}. Open it in one of the two."
            )
        with self._guard:
            if self._closed:
                raise StoreError(f"{self.name} was closed. Open it anew.")
            with _engine_errors(f"{action} in {str(self.path)!r}"):
                yield


@contextmanager
def _engine_errors(action: str, advice: str = "") -> Iterator[None]:
    """Turn what the engine raises, and it raises plain `Exception`, into `StoreError`."""
    try:
        yield
    except (Qwen3RagError, MemoryError):
        raise
    except BaseException as error:
        # A panic of the engine derives from BaseException, so that nobody ignores it.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if "WouldBlock" in str(error):  # the engine's own lock, which a fork copies
            advice = (
                "A process forked from one that had it open still holds it. End that process; "
                "start workers by spawning, or open the folder after forking."
            )
        raise StoreError(f"{action} failed: {error} {advice}".rstrip()) from error


def _configuration(settings: CollectionSettings) -> engine.EdgeConfig:
    return engine.EdgeConfig(
        vectors={
            DENSE: engine.EdgeVectorParams(size=settings.dim, distance=engine.Distance.Cosine)
        },
        sparse_vectors={LEXICAL: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
    )


def _point(point: Point) -> engine.Point:
    assert point.dense is not None
    vectors: dict[str, Any] = {DENSE: point.dense.tolist()}
    if point.lexical is not None and len(point.lexical):
        vectors[LEXICAL] = _sparse(point.lexical)
    document = point.document
    return engine.Point(point_id(document.id), vectors, to_payload(document, _KEYS))


def _sparse(vector: SparseVector) -> engine.SparseVector:
    return engine.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _own_id(record: engine.ScoredPoint) -> Id:
    stored = record.id if isinstance(record.id, int) else str(record.id)
    own: Id = (record.payload or {}).get(_KEYS.id, stored)
    return own


def _read(record: engine.Record) -> Point:
    stored = record.id if isinstance(record.id, int) else str(record.id)
    vectors: Any = record.vector or {}
    dense, lexical = vectors.get(DENSE), vectors.get(LEXICAL)
    return Point(
        from_payload(stored, record.payload or {}, _KEYS),
        None if dense is None else np.asarray(dense, dtype=np.float32),
        None
        if lexical is None
        else SparseVector(
            np.asarray(lexical.indices, dtype=np.uint32),
            np.asarray(lexical.values, dtype=np.float32),
        ),
    )
