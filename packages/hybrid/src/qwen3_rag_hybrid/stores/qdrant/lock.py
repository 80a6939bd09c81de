"""`FolderLock`: one process at a time may use a folder.

The operating system holds the lock and drops it when the process ends, however it ends. The lock
file's content is only used in the error message of another process.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import weakref
from pathlib import Path
from typing import BinaryIO

from qwen3_rag.errors import StoreError

__all__ = ["FolderLock"]

if sys.platform == "win32":
    import msvcrt

    # Far behind the text, because a locked region cannot be read on Windows.
    _PLACE = 1 << 30

    def _lock(file: BinaryIO) -> None:
        file.seek(_PLACE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """A lock that is held from `acquire` until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Set the lock file's path; the file is created by the first `acquire`."""
        self._path = path
        self._file: BinaryIO | None = None

    def acquire(self) -> None:
        """Acquire the lock without waiting; do nothing if it is already held.

        Raises:
            StoreError: Another process holds the lock, or the file cannot be written.
        """
        if self._file is not None:
            return
        try:
            file = self._path.open("a+b")
        except OSError as error:
            raise StoreError(
                f"{str(self._path.parent)!r} cannot be written to ({error.strerror}), and even "
                "searching has to write a lock there. Choose a folder you may write to."
            ) from error
        try:
            _lock(file)
        except OSError as error:
            file.close()
            raise StoreError(
                f"{str(self._path.parent)!r} is held by {self._holder()}. One process at a time "
                "can use it: wait for that one, end it, or keep the collection on a Qdrant server, "
                "which many may share."
            ) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        file.flush()
        self._file = file
        _held.add(self)

    def release(self) -> None:
        """Release the lock. Idempotent."""
        file, self._file = self._file, None
        _held.discard(self)
        if file is not None:
            file.truncate(0)
            file.close()

    def drop_in_child(self) -> None:
        """Close a forked child's copy, which would keep the lock after the parent ends."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _holder(self) -> str:
        try:
            holder = json.loads(self._path.read_bytes())
            pid, host = int(holder["pid"]), str(holder["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"  # the holder has not written its name yet
        if pid == os.getpid() and host == socket.gethostname():
            return f"this process itself (pid {pid}), which opened it before"
        return f"process {pid} on host {host!r}"


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_held):
        lock.drop_in_child()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
