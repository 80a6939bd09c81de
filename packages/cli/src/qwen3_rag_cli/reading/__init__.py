"""Reads files of all formats as sections of text."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qwen3_rag_cli import formats
from qwen3_rag_cli.reading.apart import Apart
from qwen3_rag_cli.reading.readers import APART, read
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Section

__all__ = ["Content", "Reader", "Unusable", "digest_of"]

# Instead of a file that was not fetched, Git LFS writes a few lines that begin so.
POINTER, LONGEST_POINTER = b"version https://git-lfs.github.com/spec/", 1024


@dataclass
class Content:
    """The content of a file.

    Attributes:
        digest: SHA-256 of its bytes.
        sections: Its text; can be read once.
        notes: Remarks for the user, complete when the sections have been read.
    """

    digest: str
    sections: Iterator[Section]
    notes: list[str] = field(default_factory=list)


class Reader:
    """Reads files; formats that can be made to do harm are read in a process of their own."""

    def __init__(self, encoding: str | None = None) -> None:
        """Start nothing yet.

        Args:
            encoding: The encoding of text that is not UTF-8; `None` to detect it.
        """
        self._encoding = encoding
        self._apart: Apart | None = None

    def read(self, path: Path) -> Content:
        """Open a file; its sections are read one by one when they are asked for.

        Asking for them raises `Unusable` too, in the midst of a damaged file.

        Raises:
            Unusable: The file no longer exists, or cannot be read.
        """
        version = _version(path)
        content = Content(digest_of(path), iter(()))
        # An empty text has no sections; any other format without bytes is damaged.
        if version[1] or formats.kind_of(path) in APART:
            content.sections = self._sections(path, content.notes, version)
        return content

    def close(self) -> None:
        """End the process."""
        if self._apart is not None:
            self._apart.close()

    def _sections(
        self, path: Path, notes: list[str], version: tuple[int, int]
    ) -> Iterator[Section]:
        known = formats.of(path)
        if known is not None and known.missing is not None:
            raise Unusable(f'needs a library that is not installed: pip install "{known.missing}"')
        if version[1] < LONGEST_POINTER:
            _refuse_pointer(path)
        source = Source(path, self._encoding, notes)
        if formats.kind_of(path) not in APART:
            yield from read(source)
        else:
            self._apart = self._apart or Apart()
            yield from self._apart.read(source, version[1])
        if _version(path) != version:
            raise Unusable("was changed while it was read; the next run reads it", keep=True)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    A file without bytes is not read: some of the system say that they have none, such as
    `/proc/kmsg`, and make those wait who read them.

    Raises:
        Unusable: The file no longer exists, or cannot be read.
    """
    with _errors(), open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return hashlib.sha256().hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_pointer(path: Path) -> None:
    with _errors(), open(path, "rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise Unusable(
                "is a pointer of Git LFS, and not the file. Fetch it with `git lfs pull`", keep=True
            )


def _version(path: Path) -> tuple[int, int]:
    with _errors():
        status = path.stat()
        return status.st_mtime_ns, status.st_size


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Unusable("vanished while indexing") from None
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror or error}", keep=True) from None
