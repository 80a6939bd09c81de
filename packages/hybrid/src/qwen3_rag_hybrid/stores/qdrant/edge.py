"""`QdrantEdgeStore`: Qdrant's engine in this process, with the collection in a folder."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rag.errors import MissingExtraError, Qwen3RagError, StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point, point_id
from qwen3_rag_hybrid.stores.base import Query, Store
from qwen3_rag_hybrid.stores.qdrant.filters import check_filter, has_conditions, with_places
from qwen3_rag_hybrid.stores.qdrant.lock import FolderLock
from qwen3_rag_hybrid.stores.qdrant.shape import missing_indexes
from qwen3_rag_hybrid.stores.record import CollectionRecord, Finding, compare, refuse

try:
    import qdrant_edge as engine
except ImportError as error:
    raise MissingExtraError(
        "A collection in a folder needs the package 'qdrant-edge-py'. Install it with: "
        'pip install "qwen3-rag-hybrid[edge]"'
    ) from error

from qwen3_rag_hybrid.stores.qdrant.layout import (
    KEYS,
    configuration,
    own_id,
    read_point,
    read_record,
    sparse_name,
    to_point,
    to_sparse,
    write_record,
)

__all__ = ["QdrantEdgeStore"]

_PAGE = 256


class QdrantEdgeStore(Store):
    """A collection in a folder, searched by Qdrant's engine in this process.

    Safe to share between threads. Only one process at a time can open the folder; any other gets a
    `StoreError` that names the first. Filters are of the class `qdrant_edge.Filter`.

    Example:
        ```python
        with HybridSearcher(QdrantEdgeStore("index"), embedder) as searcher:
            searcher.create(fields={"path": "keyword"})
            searcher.add([Document("a", "Paris is the capital of France.", {"path": "a.md"})])
            searcher.search("What is the capital of France?")
        ```
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the collection if it exists; nothing is written before `create`.

        Args:
            path: The folder; `create` creates it.

        Raises:
            StoreError: Another process has the folder open, or it is damaged or not writable.
        """
        self.path = Path(path).expanduser().absolute()
        self._folder = self.path / "collection"
        # The engine holds the GIL while it works, so a lock around it costs nothing, and it
        # prevents a search in a shard that is being closed.
        self._guard = threading.RLock()
        self._lock = FolderLock(self.path / "lock")
        self._pid = os.getpid()
        self._shard: engine.EdgeShard | None = None
        self._record: CollectionRecord | None = None
        self._sparse = BM25  # name of the sparse vector
        self._closed = False
        with self._guard:
            self._open()

    @property
    def name(self) -> str:
        """The folder's name for error messages."""
        return f"The collection in {str(self.path)!r}"

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`.

        The collection is created next to its final location and moved there when complete, so a
        killed `create` leaves no partial collection.
        """
        with self._using("Making the collection"):
            if not self._open():
                self._make(record)
            kept = self._record
            if kept is not None and kept != record:
                refuse(compare(self.name, kept, record))
                self._record = replace(record, format=kept.format)
                write_record(self._folder, self._record)
            self._make_indexes(record)

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`."""
        with self._using("Opening the collection"):
            return self._record if self._open() else None

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`."""
        with self._using("Recording"):
            self._opened()
            write_record(self._folder, record)
            self._record = record

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection against the record; see `Store.check`."""
        with self._using("Checking the collection"):
            if not self._open():
                return [self._missing()]
            indexed = self._opened().info().payload_schema
            return missing_indexes(self.name, record.fields, indexed)

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

    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Make the filter to send; see `Store.with_ids`."""
        placed = None if filter is None else with_places(filter, point_id)
        if ids is None:
            return placed
        among = engine.HasIdCondition({point_id(id_) for id_ in ids})
        return engine.Filter(must=[among] if placed is None else [among, placed])

    def selects_all(self, filter: Any) -> bool:
        """Whether a filter has no conditions; see `Store.selects_all`."""
        return filter is None or not has_conditions(filter)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Store.upsert`. They survive if the process is killed afterwards."""
        with self._using("Writing"):
            shard = self._opened()
            made = [to_point(point, self._sparse) for point in points]
            shard.update(engine.UpdateOperation.upsert_points(made))

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`.

        Their terms still count in the IDF until the folder is opened again, or until `optimize`.
        """
        places: list[Any] = [point_id(id_) for id_ in ids]
        with self._using("Deleting"):
            self._opened().update(engine.UpdateOperation.delete_points(places))

    def delete_matching(self, filter: Any) -> None:
        """Delete documents that pass a filter; see `Store.delete_matching` and `delete`."""
        matching = engine.Filter() if filter is None else filter
        with self._using("Deleting"):
            self._opened().update(engine.UpdateOperation.delete_points_by_filter(matching))

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Search by vector and by terms in one batch; see `Store.search`."""
        with self._using("Searching"):
            shard = self._opened()
            queries = {DENSE: engine.Query.Nearest(query.vector.tolist(), using=DENSE)}
            if len(query.sparse):
                queries[BM25] = engine.Query.Nearest(to_sparse(query.sparse), using=self._sparse)
            requests = [
                engine.QueryRequest(limit=limit, query=one, filter=filter, with_payload=[KEYS.id])
                for one in queries.values()
            ]
            answers = shard.query_batch(engine.QueryBatchRequest(requests))
        ranked: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
        for name, hits in zip(queries, answers, strict=True):
            ranked[name] = [(own_id(hit), hit.score) for hit in hits]
        return ranked

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; see `Store.retrieve`."""
        places: list[Any] = [point_id(id_) for id_ in ids]
        with self._using("Reading"):
            records = self._opened().retrieve(places, True, vectors)
        points = [read_point(record, self._sparse) for record in records]
        return {point.document.id: point for point in points}

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents; see `Store.scan`."""
        place = None
        while True:
            request = engine.ScrollRequest(
                offset=place, limit=_PAGE, filter=filter, with_payload=True, with_vector=vectors
            )
            with self._using("Reading"):
                records, place = self._opened().scroll(request)
            for record in records:
                yield read_point(record, self._sparse)
            if place is None:
                return

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        with self._using("Counting"):
            if not self._open():
                return 0
            return self._opened().count(engine.CountRequest(exact=True, filter=filter))

    def optimize(self) -> None:
        """Optimise the collection after many changes; may take seconds to minutes.

        Builds the graph index of large collections, frees the space of deleted documents, and
        recounts the terms of the remaining ones. Without it, search is exact; with it, search is
        faster from some tens of thousands of documents on.
        """
        with self._using("Optimizing"):
            self._opened().optimize()
            self._shut()
            self._open()

    def close(self) -> None:
        """Write pending changes and unlock the folder. Idempotent."""
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
        """Open the collection if it exists; return whether it is open now."""
        if self._shard is not None:
            return True
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{str(self.path)!r} is a file. Give a folder.")
        if not self._folder.exists():
            return False
        self._lock.acquire()
        try:
            with _engine_errors(f"Opening {str(self.path)!r}", self._damaged):
                record = read_record(self._folder)
                # Given the configuration, the engine checks that the shard matches it.
                self._shard = engine.EdgeShard.load(
                    str(self._folder / "shard"), configuration(record)
                )
                self._record, self._sparse = record, sparse_name(record)
        except BaseException:
            self._lock.release()
            raise
        return True

    def _make(self, record: CollectionRecord) -> None:
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
            engine.EdgeShard.create(str(unfinished / "shard"), configuration(record)).close()
            write_record(unfinished, record)
            unfinished.rename(self._folder)
        self._open()

    def _make_indexes(self, record: CollectionRecord) -> None:
        shard = self._opened()
        for field in record.fields.keys() - shard.info().payload_schema.keys():
            kind = getattr(engine.PayloadSchemaType, record.fields[field].capitalize())
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
                raise StoreError(f"{self.name} was closed. Open it again.")
            with _engine_errors(f"{action} in {str(self.path)!r}"):
                yield


@contextmanager
def _engine_errors(action: str, advice: str = "") -> Iterator[None]:
    """Convert the engine's errors, which are plain `Exception`s, to `StoreError`."""
    try:
        yield
    except (Qwen3RagError, MemoryError):
        raise
    except BaseException as error:
        # A panic of the engine derives from BaseException, so `except Exception` does not catch it.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if "WouldBlock" in str(error):  # the engine's own lock, which a fork inherits
            advice = (
                "A process forked from one that had it open still holds it. End that process; "
                "start workers by spawning, or open the folder after forking."
            )
        raise StoreError(f"{action} failed: {error} {advice}".rstrip()) from error
