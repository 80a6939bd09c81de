"""Has the system write files to the disk, so that they survive a loss of power."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["sync", "sync_all"]

# Disks write what is asked for at the same time in one go.
_THREADS = 8


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk.

    Raises:
        OSError: It cannot be written.
    """
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders
    # Windows wants a file that can be written.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(folder: Path) -> None:
    """Have the system write all below a folder to the disk.

    Raises:
        OSError: It cannot be written.
    """
    paths: list[Path] = []
    for parent, _, names in os.walk(folder):
        paths += [Path(parent), *(Path(parent, name) for name in names)]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(sync, paths))
