"""Where an index is, and what the paths of its files are relative to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from qwen3_rag.errors import InputError
from qwen3_rag.integration import full_path
from qwen3_rag_hybrid import StoreAddress

__all__ = ["STORE", "Base", "InScope", "Place"]

#: Name of the folder with the index that is looked for.
STORE = ".qwen3-rag"

#: Tells whether a key's file is below one of the roots; see `Base.scope`.
InScope: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True)
class Base:
    """What the keys of files are relative to.

    Attributes:
        folder: The folder.
        source: First part of every key, in an index that several machines share; otherwise empty.
    """

    folder: Path
    source: str = ""

    def key_of(self, path: Path) -> str:
        """Return a file's key: its path relative to the folder, after the source.

        Raises:
            InputError: The file is elsewhere, and the index is shared. Without a source, the key is
                the full path.
        """
        try:
            key = path.relative_to(self.folder).as_posix()
        except ValueError:
            if self.source:
                raise InputError(
                    f"{str(path)!r} is not in the current folder, {str(self.folder)!r}, which the "
                    "paths in an index on a server are relative to. Change to a folder above it, "
                    "and run the command there."
                ) from None
            return path.as_posix()
        return f"{self.source}/{key}" if self.source else key

    def shown(self, key: str) -> str:
        """Return a key as the path of the file, as git shows paths.

        From inside the folder, it is relative to the current folder. From elsewhere, and in an
        index that several machines share, it is the key.
        """
        if self.source:
            return key
        try:
            current = Path.cwd()
        except FileNotFoundError:
            return key
        if current != self.folder and self.folder not in current.parents:
            return key
        return Path(os.path.relpath(self.folder / key, current)).as_posix()

    def from_here(self, path: str) -> str | None:
        """Return the key of a path that is relative to the current folder, as git takes it.

        `None` if the path cannot have one.
        """
        try:
            return self.key_of(full_path(path))
        except InputError:
            return None

    def path_of(self, key: str) -> Path:
        """Return where the file of a key is on this machine, if it is one of this base."""
        return self.folder / (key.removeprefix(f"{self.source}/") if self.source else key)

    def scope(self, roots: Sequence[Path]) -> InScope:
        """Make a function that tells whether a key's file is one of `roots` or below one."""

        def inside(key: str) -> bool:
            if self.source and not key.startswith(f"{self.source}/"):
                return False
            path = self.path_of(key)
            return any(path == root or root in path.parents for root in roots)

        return inside


@dataclass(frozen=True)
class Place:
    """Where an index is: a folder, or a collection on a server or in another store.

    Attributes:
        address: The store's address.
        base: What the keys of its files are relative to.
        folder: The folder of the index, with its manifest; `None` for any other store.
    """

    address: StoreAddress
    base: Base
    folder: Path | None = None

    @classmethod
    def of(
        cls, store: str | Path | None, source: str | None = None, base: Path | None = None
    ) -> Place:
        """Read the value of `--store`.

        Args:
            store: A folder or an address; when omitted, the nearest folder `.qwen3-rag`, from the
                current folder upwards, or else one to be made here.
            source: The value of `--source`; the current folder's name when omitted.
            base: The folder that keys in an index folder are relative to; its parent when omitted.

        Raises:
            InputError: The address cannot be used, the source is not a name, or the nearest folder
                belongs to another user.
        """
        address = StoreAddress.parse(_nearest() if store is None else store)
        if address.path is not None and address.kind == "edge":
            if source is not None:
                raise InputError(
                    "`--source` is for an index on a server, which several machines may share. "
                    f"{str(address)!r} is a folder: leave it out."
                )
            folder = full_path(address.path)
            return cls(address, Base(base or folder.parent), folder)
        current = full_path(".")
        name = current.name if source is None else source
        if not name or PurePosixPath(name).parts != (name,) or name in (".", ".."):
            raise InputError(
                f"`--source` must be a name without a slash, got {name!r}."
                if source is not None
                else f"The folder {str(current)!r} has no name to begin the paths with. Give one "
                "with --source NAME."
            )
        return cls(address, Base(current, name))

    @property
    def path(self) -> Path | None:
        """Folder or file with the data, which is not to be indexed; `None` for a server."""
        path = self.address.path
        return None if path is None else full_path(path)

    def __str__(self) -> str:
        return str(self.address if self.folder is None else self.folder)


def _nearest() -> Path:
    """Find the index that the current folder belongs to, as git finds a repository.

    Raises:
        InputError: It belongs to another user.
    """
    current = full_path(".")
    for folder in (current, *current.parents):
        found = folder / STORE
        if os.path.isdir(found):  # false, too, where nothing can be seen
            _check_owner(found, current)
            return found
        if os.path.ismount(folder):
            break
    return current / STORE


def _check_owner(folder: Path, current: Path) -> None:
    """Check that an index in a folder above is the user's own.

    It names the models to load and the servers to send texts to, and anybody may put one into
    /tmp, above everything there.

    Raises:
        InputError: It is another user's.
    """
    if os.name != "posix" or folder.parent == current:
        return
    owners = {folder.lstat().st_uid, folder.stat().st_uid}
    if owners != {os.geteuid()}:
        raise InputError(
            f"The nearest index, {str(folder)!r}, belongs to another user. If you trust it, name "
            f"it with --store. To make one here, use `--store {STORE}`."
        )
