"""`Generations`: the states of a folder that readers open while one process writes.

A generation is a complete state that never changes: `generations/7` with a collection, the files
beside it, and checksums of them all. The one with the highest number is current. Whoever writes
first copies it to `work`, changes that, and publishes it as `generations/8` by one rename. A folder
that nothing was published in has the collection itself where `work` would be.

Whenever a process is killed, the folder is in one of these states. Readers see the current
generation in all of them, and the next one that opens the folder for writing goes on as told:

- `work` is whole, changed up to some point: it goes on there.
- `work` is partly prepared for publishing: the preparation is undone, and it goes on there.
- `work.new` or `removed-6` exists, a copy that is not whole, or a generation that was being
  removed: it is deleted.
- Only a part of the first collection was moved to `work`: it is moved back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import qdrant_edge as engine

from qwen3_rag_hybrid.stores.qdrant import checksums
from qwen3_rag_hybrid.stores.qdrant.lock import remove_unshared
from qwen3_rag_hybrid.stores.qdrant.syncing import sync, sync_all

__all__ = ["COLLECTION", "LOG_ASIDE", "SHARD", "Generations"]

COLLECTION = "collection"
SHARD = f"{COLLECTION}/shard"

# The engine keeps its write-ahead log here, which only one process can have open, and deletes it
# when it opens a shard that has none by its configuration.
_LOG = f"{SHARD}/wal"
LOG_ASIDE = f"{COLLECTION}/wal"
_CONFIG = f"{SHARD}/edge_config.json"
_LOGGED = "wal_enabled"


class Generations:
    """The folders of one collection; whoever changes them holds the writer's lock.

    Attributes:
        path: The folder.
        published: The folder with the generations.
        work: Where changes are made to a generation's copy.
    """

    def __init__(self, path: Path) -> None:
        """Store the path; nothing is read."""
        self.path = path
        self.work = path / "work"
        self.published = path / "generations"

    def exist(self) -> bool:
        """Whether there is a collection, in any state."""
        return self.newest() is not None or (self.path / COLLECTION).exists() or self.work.exists()

    def newest(self) -> Path | None:
        """Return the current generation; `None` if nothing was published."""
        numbers = self._numbers()
        return self.published / str(numbers[-1]) if numbers else None

    def working(self) -> Path | None:
        """Return the folder in which changes are made, or `None` if there are none to a generation.

        It has a collection, unless nothing was written yet.
        """
        if self.newest() is None:
            return self.path
        return self.work if self.work.exists() else None

    def recover(self) -> None:
        """Bring the folder into a state from which one goes on, wherever a process was killed."""
        for left in (self.path / "work.new", *self.path.glob("removed-*")):
            _remove(left)
        if not self.work.is_dir():
            _remove(self.work)
        if self.newest() is None and self.work.exists():
            for item in self.work.iterdir():
                item.rename(self.path / item.name)
            self.work.rmdir()
        working = self.working()
        if working is not None:
            _unseal(working)
        self._remove_old()

    def begin(self) -> None:
        """Copy the current generation to `work`.

        Raises:
            checksums.DamagedFilesError: It is damaged.
            OSError: It cannot be copied.
        """
        current, unfinished = self.newest(), self.path / "work.new"
        assert current is not None
        _remove(unfinished)
        try:
            checksums.copy_checked(current, unfinished)
            _unseal(unfinished)
            sync_all(unfinished)  # the next run goes on in it, even after a loss of power
        except (Exception, KeyboardInterrupt, SystemExit):
            _remove(unfinished)
            raise
        unfinished.rename(self.work)
        sync(self.path)

    def give_up(self) -> None:
        """Remove what was changed, or else begin with nothing; the generations stay."""
        if self.newest() is None:
            for damaged in (self.path / COLLECTION, self.work):
                if damaged.exists():
                    shutil.rmtree(damaged)
        elif self.work.exists():
            shutil.rmtree(self.work)
        else:
            self.work.mkdir()

    def publish(self, names: Sequence[str]) -> None:
        """Make the next generation of what was changed, and remove earlier ones.

        Args:
            names: Files beside the first collection that belong to it; later on, all that are in
                `work`.

        Raises:
            OSError: It cannot be written.
        """
        if self.newest() is None:
            self.work.mkdir()
            for name in (COLLECTION, *names):
                (self.path / name).rename(self.work / name)
        _seal(self.work)
        checksums.write_checksums(self.work)
        sync_all(self.work)
        self.published.mkdir(exist_ok=True)
        numbers = self._numbers()
        number = numbers[-1] + 1 if numbers else 1
        self.work.rename(self.published / str(number))
        sync(self.published)
        sync(self.path)
        self._remove_old()

    def _numbers(self) -> list[int]:
        try:
            names = os.listdir(self.published)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def _remove_old(self) -> None:
        # One that is being opened stays for the next time. What is open stays readable, or on
        # Windows, stays.
        for number in self._numbers()[:-1]:
            checksums_file = self.published / str(number) / checksums.LIST
            remove_unshared(checksums_file, self.path / f"removed-{number}")


def _remove(path: Path) -> None:
    """Remove what a killed run left, or what somebody else put in its place."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _seal(folder: Path) -> None:
    """Make a closed shard one that many processes can load at once, and that loading leaves as is.

    The log is put aside and kept, because the engine numbers changes by it: with a new one, it
    would pass over changes whose numbers its segments have seen.
    """
    (folder / _LOG).rename(folder / LOG_ASIDE)
    _set_logged(folder, logged=False)
    engine.EdgeShard.load(str(folder / SHARD)).close()  # tidies up what the last changes left


def _unseal(folder: Path) -> None:
    """Undo `_seal`, whole or in part."""
    (folder / checksums.LIST).unlink(missing_ok=True)
    if (folder / LOG_ASIDE).exists():
        _set_logged(folder, logged=True)
        shutil.rmtree(folder / _LOG, ignore_errors=True)
        (folder / LOG_ASIDE).rename(folder / _LOG)


def _set_logged(folder: Path, *, logged: bool) -> None:
    path = folder / _CONFIG
    values = json.loads(path.read_bytes())
    values.pop(_LOGGED, None)
    if not logged:
        values[_LOGGED] = False
    new = path.with_suffix(".new")
    new.write_text(json.dumps(values), encoding="utf-8")
    sync(new)
    new.replace(path)
