"""Checksums of a folder's files, by which damage is found before anything is searched.

They are for damage by disks and programs, not for forgery. Blocks of zeros, which most files of the
engine consist of, are neither stored by a copy nor part of a checksum, so that a copy that holds
them has the same checksums as one that does not.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from qwen3_rag_hybrid.stores.record import LaterFormatError, check_format

__all__ = ["LIST", "DamagedFilesError", "copy_checked", "verify", "write_checksums"]

#: The file with the checksums of all others in its folder.
LIST = "checksums.json"

_FORMAT = 1
_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)
_THREADS = 4  # more are not faster than the disk

# The engine writes these anew whenever it opens or closes a shard, with the same values in any
# order, and in a folder beside them.
_REWRITTEN = frozenset({"edge_config.json", "segment.json"})
_UNFINISHED = ".atomicwrite"


class DamagedFilesError(ValueError):
    """A folder does not have the files that its checksums describe."""


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files below a folder.

    Raises:
        OSError: A file cannot be read or written.
    """
    names = sorted(_names(folder))
    found = dict(zip(names, _each(names, lambda name: _digest(folder / name)), strict=True))
    with (folder / LIST).open("w", encoding="utf-8") as file:
        json.dump({"format": _FORMAT, "files": found}, file, indent=1)
        file.write("\n")


def verify(folder: Path, *, without: str = "") -> None:
    """Check the files below a folder against its checksums.

    Args:
        folder: The folder.
        without: A folder in it whose files are not used, and not checked.

    Raises:
        DamagedFilesError: A file is missing or has another content.
        OSError: A file cannot be read.
    """
    expected = _expected(folder, without)

    def check(name: str) -> None:
        _compare(name, _digest(_present(folder, name)), expected)

    _each(expected, check)


def copy_checked(source: Path, target: Path, *, without: str = "") -> None:
    """Copy the files that a folder has checksums of, and check them.

    Args:
        source: The folder.
        target: A folder that does not exist.
        without: A folder in `source` to leave out.

    Raises:
        DamagedFilesError: A file is missing or has another content.
        OSError: A file cannot be read or written.
    """
    expected = _expected(source, without)
    target.mkdir()
    for parent in sorted({str(Path(name).parent) for name in expected}):
        (target / parent).mkdir(parents=True, exist_ok=True)

    def copy(name: str) -> None:
        _copy(_present(source, name), target / name)
        _compare(name, _digest(target / name), expected)

    _each(expected, copy)


def _expected(folder: Path, without: str) -> Mapping[str, str]:
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
        check_format(listed["format"], _FORMAT)
        files = {str(name): str(value) for name, value in listed["files"].items()}
        if any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in files):
            raise ValueError("a file outside the folder")
    except FileNotFoundError:
        raise DamagedFilesError(f"{LIST} is missing") from None
    except LaterFormatError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedFilesError(f"{LIST} has another content than was written") from None
    if not without:
        return files
    return {name: value for name, value in files.items() if not name.startswith(f"{without}/")}


def _present(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DamagedFilesError(f"{name} is missing")
    return path


def _compare(name: str, found: str, expected: Mapping[str, str]) -> None:
    if found != expected[name]:
        raise DamagedFilesError(f"{name} has another content than was written")


def _each(names: Iterable[str], work: Callable[[str], object]) -> list[object]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, names))


def _names(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_UNFINISHED)]
        relative = Path(parent).relative_to(folder)
        for name in names:
            if relative != Path() or name != LIST:
                yield (relative / name).as_posix()


def _digest(path: Path) -> str:
    """Return the size and the CRC-32 of a file's places and blocks."""
    if path.name in _REWRITTEN:
        try:
            values = json.loads(path.read_bytes())
        except ValueError:
            raise DamagedFilesError(f"{path.name} is not JSON") from None
        return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"
    with path.open("rb", buffering=0) as file:
        size, crc = os.fstat(file.fileno()).st_size, 0
        for place, block in _blocks(file, size):
            crc = zlib.crc32(block, zlib.crc32(place.to_bytes(8, "little"), crc))
    return f"{size}:{crc:08x}"


def _copy(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as file, target.open("wb", buffering=0) as copy:
        size = os.fstat(file.fileno()).st_size
        copy.truncate(size)
        for place, block in _blocks(file, size):
            content = block.lstrip(b"\0")
            copy.seek(place + len(block) - len(content))
            left = memoryview(content.rstrip(b"\0"))
            while left:
                left = left[copy.write(left) :]


def _blocks(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield place and content of all blocks that are not only zeros."""
    for start, end in _stored(file, size):
        for place in range(start, end, _BLOCK):
            file.seek(place)
            block = file.read(min(_BLOCK, size - place))
            if block != _ZEROS[: len(block)]:
                yield place, block


def _stored(file: BinaryIO, size: int) -> Iterable[tuple[int, int]]:
    """Yield the parts of a file that the system has stored, in whole blocks, each one once."""
    if not hasattr(os, "SEEK_DATA"):
        yield 0, size
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # not all filesystems can tell
                yield end, size
            return
        until = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        start -= start % _BLOCK
        stop = min(until + -until % _BLOCK, size)
        yield max(start, end), stop
        end = stop
