"""Free space: checked before the engine writes, because it cannot say that a disk is full.

It writes through memory maps, and where there is no space behind one, the system ends the process.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid.documents import Point

__all__ = [
    "check_space",
    "has_space",
    "size_on_disk",
    "space_to_copy",
    "space_to_load",
    "space_to_write",
]

# What the engine may need for anything: new files and pages, and its write-ahead log.
_RESERVE = 16 << 20

# What finding out how a disk behaves may need.
_TRIAL = 1 << 20

# A vector is stored once as it is and once in the log, where its numbers take up to 5 bytes.
_BYTES_PER_NUMBER = 9


def check_space(folder: Path, needed: int, action: str, reserve: int = _RESERVE) -> None:
    """Check that a disk has space.

    Raises:
        StoreError: It has less than `needed` bytes and the reserve.
    """
    if not has_space(folder, needed, reserve):
        free, wanted = shutil.disk_usage(folder).free, needed + reserve
        raise StoreError(
            f"The disk of {str(folder)!r} is full: {action} needs {_megabytes(wanted)}, and "
            f"{_megabytes(free)} are free. Free some space, and run it again: what was written "
            "before is kept."
        )


def has_space(folder: Path, needed: int, reserve: int = _RESERVE) -> bool:
    """Whether a disk has so many bytes, and the reserve."""
    return shutil.disk_usage(folder).free >= needed + reserve


def space_to_write(points: Sequence[Point]) -> int:
    """Estimate the bytes that points take in the engine's files."""
    numbers = sum(
        (0 if point.dense is None else point.dense.size)
        + (0 if point.sparse is None else 2 * len(point.sparse))
        for point in points
    )
    texts = sum(len(point.document.text.encode()) for point in points)
    return _BYTES_PER_NUMBER * numbers + 4 * texts


def space_to_load(shard: Path) -> int:
    """Return how many bytes a disk loses when the engine loads a shard.

    It reads all of its files, which are mostly holes. A filesystem in memory fills what is read.
    """
    return _holes(shard) if _reading_fills(shard) else 0


def space_to_copy(shard: Path, target: Path) -> int:
    """Return how many bytes another disk loses when a shard is copied there and loaded."""
    return size_on_disk(shard) + (_holes(shard) if _reading_fills(target) else 0)


def size_on_disk(folder: Path) -> int:
    """Return how many bytes the files below a folder take."""
    return sum(map(_stored, _statuses(folder)))


def _holes(folder: Path) -> int:
    return sum(max(status.st_size - _stored(status), 0) for status in _statuses(folder))


def _stored(status: os.stat_result) -> int:
    # Windows does not tell, and has no holes.
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a reader's temporary file
                yield os.stat(os.path.join(parent, name))


def _reading_fills(folder: Path) -> bool:
    """Whether a hole that is read through a memory map takes space from then on.

    Where there is none, nothing is read to find out, which could end the process, too.
    """
    if not has_space(folder, 0, _TRIAL):
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE) as mapped:
                mapped[0]
            status = os.fstat(file.fileno())
    except OSError:
        return False  # nothing can be written here
    return getattr(status, "st_blocks", 0) > 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
