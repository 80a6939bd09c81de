"""A disk that loses power: what was not written to it by then is gone, as on a real one."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Disk", "mounted"]

_SHUT_DOWN = 0x8004587D  # of ext4, which its own tests use: EXT4_IOC_SHUTDOWN
_WITHOUT_WRITING = 2


class Disk:
    """A small disk in a file, mounted at a folder."""

    def __init__(self, image: Path, folder: Path) -> None:
        """Make and mount it.

        Args:
            image: The file, to be made.
            folder: Where to mount it.
        """
        self._image, self.folder = image, folder
        with image.open("wb") as file:
            file.truncate(600 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        folder.mkdir(exist_ok=True)
        self._mount()

    def lose_power(self) -> None:
        """Write nothing from now on; whoever has files open gets errors."""
        import fcntl

        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUT_DOWN, struct.pack("I", _WITHOUT_WRITING))
        finally:
            os.close(handle)

    def start_again(self) -> None:
        """Mount what has been written; no file of the disk may be open any more."""
        subprocess.run(["umount", str(self.folder)], check=True)
        self._mount()

    def remove(self) -> None:
        """Unmount and delete it."""
        subprocess.run(["umount", "-l", str(self.folder)], check=False)
        self._image.unlink()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.folder)], check=True)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Disk]:
    """Mount a disk, or skip the test where that cannot be done."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root may mount a disk that loses power, on Linux with mkfs.ext4")
    try:
        disk = Disk(image, folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a disk cannot be mounted here: {error}")
    try:
        yield disk
    finally:
        disk.remove()
