"""Opens an index in a folder: the collection, and the manifest that is published with it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qwen3_rag.errors import StoreError
from qwen3_rag_cli.manifest import Manifest
from qwen3_rag_hybrid import DamagedError, InUseError

if TYPE_CHECKING:
    from qwen3_rag_hybrid import QdrantEdgeStore

__all__ = [
    "MANIFEST",
    "check_kind",
    "collection_in",
    "holds_index",
    "manifest_of",
    "open_to_read",
    "open_to_write",
]

MANIFEST = "manifest.sqlite3"

_WAIT = "Wait for it with --wait SECONDS, or end it."


def holds_index(folder: Path) -> bool:
    """Whether there is an index in a folder, published or not, and damaged or not."""
    # Where a store keeps what was published, what is changed, and what was never published.
    places = ("generations/*/", "work/", "")
    if any(any(folder.glob(f"{place}{MANIFEST}")) for place in places):
        return True
    return any(map(_names_manifest, folder.glob("generations/*/checksums.json")))


def open_to_read(folder: Path) -> tuple[QdrantEdgeStore, Manifest]:
    """Open an index as it was published last, while others may write to it.

    One that was never published is opened with the lock.

    Raises:
        StoreError: It is damaged, or another process writes to one that was never published.
    """
    from qwen3_rag_hybrid import QdrantEdgeStore

    while True:
        with _told(
            folder, "It has no complete state to search yet: try again when that has ended."
        ):
            with _no_panics():
                store = QdrantEdgeStore(folder, read_only=True)
            try:
                return store, manifest_of(store)
            except BaseException as error:
                store.close()
                # Whoever writes has published another state, and removed this one.
                if isinstance(error, StoreError) and not store.place.exists():
                    continue
                raise


def open_to_write(folder: Path, wait: float) -> tuple[QdrantEdgeStore, Manifest, str]:
    """Open an index to change it, and create it if it does not exist.

    Args:
        folder: The folder.
        wait: Seconds to wait for another process that writes to it.

    Returns:
        The two parts, and what was damaged and is given up, to be indexed again.

    Raises:
        StoreError: It is in use, holds other files, or cannot be written.
    """
    from qwen3_rag_hybrid import QdrantEdgeStore

    _make(folder)
    with _told(folder, _WAIT):
        with _no_panics():
            store = QdrantEdgeStore(folder, wait=wait, repair=True)
        try:
            if store.record() is None:
                store.begin()  # locks the folder
            damage = store.damage
            try:
                manifest = manifest_of(store)
            except DamagedError as error:
                damage = error.reason
                for path in store.begin().glob(f"{MANIFEST}*"):
                    path.unlink()
                manifest = manifest_of(store)
            if damage and store.published is not None and MANIFEST not in damage:
                _recall(store.published, manifest)
        except BaseException:
            store.close()
            raise
    return store, manifest, damage


def collection_in(folder: Path, wait: float) -> QdrantEdgeStore:
    """Open the collection in a folder for writing, whether or not it is that of an index.

    Raises:
        StoreError: It is in use or damaged, or cannot be written.
    """
    from qwen3_rag_hybrid import QdrantEdgeStore

    with _told(folder, _WAIT), _no_panics():
        return QdrantEdgeStore(folder, wait=wait)


def manifest_of(store: QdrantEdgeStore) -> Manifest:
    """Open the manifest beside a collection."""
    return Manifest(store.place / MANIFEST, begin=store.begin if store.is_published else None)


def _recall(published: Path, manifest: Manifest) -> None:
    """Take over the models and settings of what was given up, if they can still be read."""
    try:
        damaged = Manifest(published / MANIFEST, begin=Path)
    except StoreError:
        return
    try:
        manifest.write_record(damaged.record())
    finally:
        damaged.close()


def check_kind(folder: Path) -> None:
    """Check that a name is that of a folder, or of nothing.

    Raises:
        StoreError: It is that of something else.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        what = "a link that leads nowhere" if folder.is_symlink() else "a file"
        raise StoreError(f"{str(folder)!r} is {what}. Name a folder with --store.")


def _make(folder: Path) -> None:
    check_kind(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = {path.name for path in folder.iterdir() if not _is_empty(path)}
        others -= {".gitignore", "lock"}
        if others and not holds_index(folder):
            raise StoreError(
                f"The folder {str(folder)!r} holds other files and no index. Name an empty or new "
                "folder with --store."
            )
        # An index can be rebuilt and does not belong in a repository.
        ignored = folder / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space." if is_full else "Name a folder you may write to with --store."
        raise StoreError(
            f"The index cannot be written at {str(folder)!r} ({error.strerror or error}). {remedy}"
        ) from error


def _names_manifest(checksums: Path) -> bool:
    """Whether a manifest was published there, which is now missing."""
    try:
        return MANIFEST.encode() in checksums.read_bytes()
    except OSError:
        return False


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


@contextmanager
def _no_panics() -> Iterator[None]:
    """Keep the engine from writing to stderr, which it does before some of its errors."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)


@contextmanager
def _told(folder: Path, when_in_use: str) -> Iterator[None]:
    """Say what to do in the words of the command line."""
    name = f"The index at {str(folder)!r}"
    try:
        yield
    except InUseError as error:
        raise StoreError(f"{name} is held by {error.holder}. {when_in_use}") from error
    except DamagedError as error:
        raise StoreError(
            f"{name} is damaged ({error.reason}). Run `qwen3-rag index` with the same "
            "paths, which makes it anew."
        ) from error
