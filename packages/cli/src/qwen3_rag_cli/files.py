"""Finds the files to index below the given paths, without opening them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from qwen3_rag.errors import InputError
from qwen3_rag.integration import full_path
from qwen3_rag_cli import formats
from qwen3_rag_cli.places import Base

__all__ = [
    "Found",
    "Selection",
    "Skipped",
    "find",
]

#: Folders with generated files; hidden folders are left out too.
TOOLS_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


@dataclass(frozen=True)
class Found:
    """A file to index.

    Attributes:
        key: Its path in the index, with `/` as the separator.
        path: Its path on disk.
        size: Its size in bytes when it was found.
    """

    key: str
    path: Path
    size: int


@dataclass(frozen=True)
class Skipped:
    """A file that is not indexed, or is indexed with a remark.

    Attributes:
        key: Its path in the index.
        reason: The reason, human-readable.
        keep: Whether its chunks stay in the index, since the file may be unchanged but currently
            unreadable.
    """

    key: str
    reason: str
    keep: bool = False


@dataclass
class Selection:
    """The files that `find` found.

    Attributes:
        files: Files to index, ordered by key, each once.
        skipped: Files that match but cannot be used.
        roots: The absolute form of the paths that `find` was called with.
    """

    files: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether no files matched."""
        return not self.files and not self.skipped


def find(
    paths: Sequence[Path],
    *,
    base: Base,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    leave_out: Path | None = None,
) -> Selection:
    """Collect the files below `paths`.

    Args:
        paths: Folders and files. Files are included whatever their name is.
        base: What keys are relative to.
        include: Glob patterns that a file's name or path must match, instead of the known suffixes.
            `*` matches `/` too.
        exclude: Glob patterns of files and folders to leave out.
        leave_out: A folder to leave out: that of the index.

    Raises:
        InputError: A path does not exist, or cannot be in an index with this base.
    """
    selection = Selection()
    found: dict[str, Found] = {}
    for given in paths:
        root = full_path(given)
        selection.roots.append(root)
        if not root.exists():
            raise InputError(
                f"There is no file or folder {str(given)!r}. To remove deleted files from the "
                "index, index the folder they were in."
            )
        base.key_of(root)
        for path in _walk(root, include, exclude, leave_out, selection.skipped, base):
            _take(path, base, found, selection.skipped)
    selection.files = [found[key] for key in sorted(found)]
    # A file can be found through several paths.
    selection.skipped = sorted(set(selection.skipped), key=lambda skipped: skipped.key)
    return selection


def _walk(
    root: Path,
    include: Sequence[str],
    exclude: Sequence[str],
    leave_out: Path | None,
    skipped: list[Skipped],
    base: Base,
) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return

    def unreadable(error: OSError) -> None:
        key = base.key_of(Path(error.filename))
        skipped.append(Skipped(key, f"cannot be read: {error.strerror}", keep=True))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in TOOLS_FOLDERS
            and here / name != leave_out
            and not _matches(here / name, root, exclude)
        )
        for name in sorted(names):
            path = here / name
            wanted = _matches(path, root, include) if include else _known(path)
            if wanted and not _matches(path, root, exclude):
                yield path


def _known(path: Path) -> bool:
    return not path.name.startswith(".") and formats.of(path) is not None


def _matches(path: Path, root: Path, patterns: Sequence[str]) -> bool:
    relative = path.relative_to(root).as_posix()
    return any(
        fnmatchcase(path.name, pattern) or fnmatchcase(relative, pattern.rstrip("/"))
        for pattern in patterns
    )


def _take(path: Path, base: Base, found: dict[str, Found], skipped: list[Skipped]) -> None:
    key = base.key_of(path)
    if not _encodable(key):
        readable = key.encode("utf-8", "replace").decode("utf-8")
        skipped.append(Skipped(readable, "has a name that is not valid UTF-8"))
        return
    try:
        status = path.stat()
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        skipped.append(Skipped(key, f"cannot be read: {error.strerror or error}", keep=not gone))
        return
    # Opening a named pipe would block.
    if not stat.S_ISREG(status.st_mode):
        skipped.append(Skipped(key, "is not a regular file"))
        return
    found[key] = Found(key, path, status.st_size)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
