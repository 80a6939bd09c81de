"""`EdgeFolder`: the folder of an embedded collection, with its lock, its record and its shard."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge as engine

from qwen3_rag.errors import Qwen3RagError, StoreError
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.qdrant.layout import configuration, read_record, write_record
from qwen3_rag_hybrid.stores.qdrant.lock import FolderLock
from qwen3_rag_hybrid.stores.record import CollectionRecord

__all__ = ["EdgeFolder"]


class EdgeFolder:
    """Opens, makes and closes a collection's folder, for one process at a time.

    Attributes:
        path: The folder.
        record: The collection's record, once it is open.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the collection if it exists; nothing is written before `make`."""
        self.path = Path(path).expanduser().absolute()
        self.record: CollectionRecord | None = None
        self._folder = self.path / "collection"
        # The engine holds the GIL while it works, so a lock around it costs nothing, and it
        # prevents a search in a shard that is being closed.
        self._guard = threading.RLock()
        self._lock = FolderLock(self.path / "lock")
        self._pid = os.getpid()
        self._shard: engine.EdgeShard | None = None
        self._closed = False
        with self._guard:
            self.open()

    @property
    def name(self) -> str:
        """The folder's name for error messages."""
        return f"The collection in {str(self.path)!r}"

    @property
    def missing(self) -> Finding:
        """The problem that there is no collection."""
        return Finding(
            "missing",
            "error",
            f"There is no collection in {str(self.path)!r}.",
            "Make it with `create()`, and check the path.",
        )

    @contextmanager
    def using(self, action: str) -> Iterator[None]:
        """Hold the folder for one operation, and convert the engine's errors to `StoreError`."""
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

    def open(self) -> bool:
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
                self.record = record
        except BaseException:
            self._lock.release()
            raise
        return True

    def opened(self) -> engine.EdgeShard:
        """Give the shard.

        Raises:
            StoreError: The collection does not exist.
        """
        if self._shard is None and not self.open():
            raise StoreError(str(self.missing))
        assert self._shard is not None
        return self._shard

    def make(self, record: CollectionRecord) -> None:
        """Make the collection.

        It is made next to its final location and moved there when complete, so a killed call leaves
        no partial collection.
        """
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
        self.open()

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record."""
        self.opened()
        write_record(self._folder, record)
        self.record = record

    def reopen(self) -> None:
        """Close the shard and open it again."""
        self._shut()
        self.open()

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

    def _shut(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.flush()
            shard.close()

    @property
    def _damaged(self) -> str:
        return (
            f"{self.name} is damaged. Restore the folder from a copy, or delete it and add the "
            "documents again."
        )


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
