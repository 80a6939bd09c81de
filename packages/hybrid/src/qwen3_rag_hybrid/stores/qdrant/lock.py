"""Locks: one process at a time may write to a folder, and what others open is not removed.

The operating system holds the lock and drops it when the process ends, however it ends. The lock
file's content is only used in the error message of another process.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid.errors import InUseError
from qwen3_rag_hybrid.stores.qdrant.failures import disk_remedy

__all__ = ["FolderLock", "remove_unshared", "shared"]

_PAUSE = 0.1  # seconds between two attempts

if sys.platform == "win32":
    import msvcrt

    # Far behind the text, because a locked region cannot be read on Windows.
    _PLACE = 1 << 30

    def _lock(file: BinaryIO) -> None:
        file.seek(_PLACE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    def _share(file: BinaryIO) -> None:
        """Do nothing: a folder with an open file cannot be renamed."""
else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _share(file: BinaryIO) -> None:
        with suppress(OSError):  # not all filesystems of networks can
            fcntl.flock(file, fcntl.LOCK_SH)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Keep others from removing a file and what is beside it, with `remove_unshared`.

    Raises:
        FileNotFoundError: That has been done.
    """
    with path.open("rb") as file:
        _share(file)
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise FileNotFoundError(path)
        yield


def remove_unshared(path: Path, removed: Path) -> None:
    """Remove a file's folder, unless somebody holds `shared` on the file.

    Args:
        path: The file; it may be missing, if the folder is damaged.
        removed: What to rename the folder to at first, so that nobody sees half of it.
    """
    with suppress(OSError), ExitStack() as opened:
        if sys.platform != "win32" and path.exists():
            _lock(opened.enter_context(path.open("rb")))
        path.parent.rename(removed)  # Windows refuses that while one of its files is open
    shutil.rmtree(removed, ignore_errors=True)


class FolderLock:
    """A lock that is held from `acquire` until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Set the lock file's path; the file is created by the first `acquire`."""
        self._path = path
        self._file: BinaryIO | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self, wait: float, *, is_published: bool) -> None:
        """Acquire the lock; do nothing if it is already held.

        Args:
            wait: Seconds to wait for whoever holds it.
            is_published: Whether the folder can be read meanwhile, for the message.

        Raises:
            InUseError: It is still held.
            StoreError: The file cannot be written.
        """
        if self._file is not None:
            return
        try:
            file = self._path.open("a+b", buffering=0)
        except OSError as error:
            remedy = disk_remedy(error) or "Choose a folder you may write to."
            raise StoreError(
                f"{str(self._path.parent)!r} cannot be written to ({error.strerror}). {remedy}"
            ) from error
        try:
            self._wait(file, time.monotonic() + wait, is_published)
        except BaseException:
            file.close()
            raise
        self._file = file
        _held.add(self)
        with suppress(OSError):  # a full disk; others are then not told who holds it
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())

    def _wait(self, file: BinaryIO, until: float, is_published: bool) -> None:
        while True:
            try:
                _lock(file)
                return
            except OSError as error:
                if time.monotonic() >= until:
                    holder, is_own = self._holder()
                    raise InUseError(
                        self._path.parent, holder, is_own=is_own, is_published=is_published
                    ) from error
            time.sleep(_PAUSE)

    def release(self) -> None:
        """Release the lock. Idempotent."""
        file, self._file = self._file, None
        _held.discard(self)
        if file is not None:
            with file, suppress(OSError):  # the name is only told to others
                file.truncate(0)

    def drop_in_child(self) -> None:
        """Close a forked child's copy, which would keep the lock after the parent ends."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _holder(self) -> tuple[str, bool]:
        """Return who holds the lock, and whether that is this process."""
        try:
            holder = json.loads(self._path.read_bytes())
            pid, host = int(holder["pid"]), str(holder["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return "another process", False  # the holder has not written its name yet
        if pid == os.getpid() and host == socket.gethostname():
            return f"this process itself (pid {pid}), which opened it before", True
        return f"process {pid} on host {host!r}", False


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_held):
        lock.drop_in_child()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
