"""`EdgeFolder`: the folder of an embedded collection, with its lock, its record and its shard."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import qdrant_edge as engine

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid.errors import DamagedError
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.qdrant import checksums
from qwen3_rag_hybrid.stores.qdrant.failures import disk_remedy, engine_errors
from qwen3_rag_hybrid.stores.qdrant.generations import COLLECTION, SHARD, Generations
from qwen3_rag_hybrid.stores.qdrant.layout import configuration, read_record, write_record
from qwen3_rag_hybrid.stores.qdrant.lock import FolderLock, shared
from qwen3_rag_hybrid.stores.qdrant.reading import ready_to_load
from qwen3_rag_hybrid.stores.qdrant.space import check_space, size_on_disk, space_to_load
from qwen3_rag_hybrid.stores.qdrant.syncing import sync, sync_all
from qwen3_rag_hybrid.stores.record import CollectionRecord

__all__ = ["EdgeFolder"]


class EdgeFolder:
    """Opens, makes, changes, publishes and closes a collection's folder.

    `generations` describes the states of the folder. One process at a time can have it open for
    writing; any number can read the current generation meanwhile.

    Attributes:
        path: The folder.
        record: The collection's record, once it is open.
        damage: What was given up to repair the folder; empty if nothing was.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        wait: float = 0.0,
        repair: bool = False,
    ) -> None:
        """Open the collection if it exists; nothing is written before `make` or `begin`.

        Args:
            path: The folder.
            read_only: Whether to open the current generation without the lock.
            wait: Seconds to wait for another process that has the lock.
            repair: Whether to give up what is damaged.
        """
        self.path = Path(path).expanduser().absolute()
        self.record: CollectionRecord | None = None
        self.damage = ""
        self._read_only, self._wait, self._repair = read_only, wait, repair
        self._generations = Generations(self.path)
        self._place = self.path
        # The engine holds the GIL while it works, so a lock around it costs nothing, and it
        # prevents a search in a shard that is being closed.
        self._guard = threading.RLock()
        self._lock = FolderLock(self.path / "lock")
        self._pid = os.getpid()
        self._shard: engine.EdgeShard | None = None
        self._copy: TemporaryDirectory[str] | None = None
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

    @property
    def place(self) -> Path:
        """The folder with the collection as it is open, and the files beside it."""
        return self._place

    @property
    def published(self) -> Path | None:
        """The current generation."""
        return self._generations.newest()

    @property
    def is_published(self) -> bool:
        """Whether the collection as it is open is a generation, which never changes."""
        return self._place.parent == self._generations.published

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
            with engine_errors(f"{action} in {str(self.path)!r}"):
                yield

    def open(self) -> bool:
        """Open the collection if it exists; return whether it is open now."""
        if self._shard is not None:
            return True
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{str(self.path)!r} is a file. Give a folder.")
        with engine_errors(f"Opening {str(self.path)!r}"):
            newest = self._generations.newest()
            if newest is not None and self._read_only:
                self._open_generation(newest)
                return True
            if not self._generations.exist():
                return False
            had_lock = self._lock.is_held
            self._acquire()
            try:
                return self._open_to_write()
            except BaseException:
                if not had_lock:
                    self._lock.release()
                raise

    def opened(self) -> engine.EdgeShard:
        """Give the shard.

        Raises:
            StoreError: The collection does not exist.
        """
        if self._shard is None and not self.open():
            raise StoreError(str(self.missing))
        assert self._shard is not None
        return self._shard

    def begin(self) -> Path:
        """Make changes possible, in a copy if the collection is open as a generation.

        Returns:
            The folder with the collection, if there is one, and the files beside it.
        """
        if self._read_only:
            raise StoreError(
                f"{self.name} was opened to be read. Open it without `read_only=True` to write."
            )
        self._make_path()
        self._acquire()
        if self._shard is None:
            self._find_place()
        if self.is_published:
            needed = size_on_disk(self._place) + space_to_load(self._place / SHARD)
            check_space(self.path, needed, "changing a copy of the collection")
            self._shut()
            with engine_errors(f"Copying {str(self._place)!r}", self._damaged):
                self._generations.begin()
        self.open()
        return self._place

    def make(self, record: CollectionRecord) -> None:
        """Make the collection.

        It is made next to its final location and moved there when complete, so a killed call leaves
        no partial collection.
        """
        place = self.begin()
        if not (place / COLLECTION).exists():  # another process may have made it in between
            unfinished = place / f"{COLLECTION}.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / "shard").mkdir(parents=True)
            try:
                check_space(place, 0, "making a collection")
                engine.EdgeShard.create(str(unfinished / "shard"), configuration(record)).close()
                write_record(unfinished, record)
                check_space(place, space_to_load(unfinished / "shard"), "opening a collection")
                sync_all(unfinished)
            except (Exception, KeyboardInterrupt, SystemExit):
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            unfinished.rename(place / COLLECTION)
            sync(place)
        self.open()

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record."""
        self.opened()
        write_record(self.begin() / COLLECTION, record)
        self.record = record

    def flush(self) -> None:
        """Have the system write all changes to the disk."""
        if self._shard is not None and not self.is_published:
            self._shard.flush()

    def publish(self, names: Sequence[str]) -> None:
        """Make the collection as it is the current generation."""
        if self._read_only:
            self.begin()  # refuses
        if not self.open():
            raise StoreError(str(self.missing))
        if self.is_published:
            return  # nothing was changed
        check_space(self.path, space_to_load(self._place / SHARD), "publishing the collection")
        self._shut()
        self._generations.publish(names)
        self._find_place()  # it is opened when it is used

    def refresh(self) -> bool:
        """Open the current generation if it is another one than is open."""
        newest = self._generations.newest()
        if not self._read_only or newest in (None, self._place):
            return False
        self._shut()
        return self.open()

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
                with engine_errors(f"Closing {str(self.path)!r}"):
                    self._shut()
            finally:
                self._lock.release()

    def _open_to_write(self) -> bool:
        """Open what changes are made to, or else the current generation; see `open`."""
        while True:
            try:
                with engine_errors(f"Opening {str(self.path)!r}", self._damaged):
                    self._find_place()
                if self.is_published:
                    self._open_generation(self._place)
                elif not (self._place / COLLECTION).exists():
                    return False
                else:
                    self._load(self._place, self._place / SHARD)
                return True
            except DamagedError as error:
                if not self._repair:
                    raise
                self.damage = error.reason
                self._generations.give_up()

    def _find_place(self) -> None:
        self._generations.recover()
        self._place = self._generations.working() or self._generations.newest() or self.path

    def _open_generation(self, place: Path) -> None:
        """Open a generation, or the one that has taken its place and removed it meanwhile."""
        while True:
            try:
                # Loaded while it is removed, it might be half of it.
                with (
                    engine_errors(f"Opening {str(self.path)!r}", self._damaged),
                    shared(place / checksums.LIST),
                ):
                    shard, self._copy = ready_to_load(place)
                    self._load(place, shard)
                self._place = place
                return
            except StoreError:
                newest = self._generations.newest()
                if newest in (None, place):
                    raise
                place = newest

    def _load(self, place: Path, shard: Path) -> None:
        with engine_errors(f"Opening {str(self.path)!r}", self._damaged):
            check_space(shard, space_to_load(shard), "opening a collection", 0)
            record = read_record(place / COLLECTION)
            # Given the configuration, the engine checks that the shard matches it.
            self._shard = engine.EdgeShard.load(str(shard), configuration(record))
            self.record = record
        if self._copy is not None and os.name != "nt":
            self._copy.cleanup()  # what is open stays readable, and nothing is left by a kill

    def _shut(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None and self.is_published:
            with suppress(Exception):  # it may have been removed, and has nothing to be written
                shard.close()
        elif shard is not None:
            shard.close()  # writes what is pending
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.cleanup()

    def _acquire(self) -> None:
        self._lock.acquire(self._wait, is_published=self._generations.newest() is not None)

    def _make_path(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = disk_remedy(error) or "Choose one you may write to."
            raise StoreError(
                f"The folder {str(self.path)!r} cannot be made ({error.strerror}). {remedy}"
            ) from error

    @property
    def _damaged(self) -> str:
        return (
            f"{self.name} is damaged. Restore the folder from a copy, or open it with "
            "`repair=True` and add the documents again."
        )
