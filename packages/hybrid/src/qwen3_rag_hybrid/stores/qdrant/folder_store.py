"""`EdgeFolderStore`: what `QdrantEdgeStore` does with its folder, apart from what is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid.stores.base import Store
from qwen3_rag_hybrid.stores.qdrant.folder import EdgeFolder

__all__ = ["EdgeFolderStore"]


class EdgeFolderStore(Store):
    """Opens, publishes and closes the folder of a collection."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        wait: float = 0.0,
        repair: bool = False,
    ) -> None:
        """Open the collection if it exists; nothing is written before `create`.

        Args:
            path: The folder; `create` creates it.
            read_only: Whether to open only what was published, without the lock, which also works
                where nothing can be written. It stays as it is until `refresh`. A collection that
                was never published is opened with the lock.
            wait: Seconds to wait for another process that has the folder open for writing.
            repair: Whether to give up what is damaged, instead of raising an error. If that leaves
                nothing, the collection has to be created and filled anew; see `damage`.

        Raises:
            StoreError: Another process has the folder open for writing, or it is damaged or not
                writable.
        """
        self._folder = EdgeFolder(path, read_only=read_only, wait=wait, repair=repair)
        self.path = self._folder.path

    @property
    def damage(self) -> str:
        """What was given up to repair the folder; empty if nothing was."""
        return self._folder.damage

    @property
    def place(self) -> Path:
        """The folder with the collection as it is open, and with the files beside it.

        It is another one after `begin`, `publish` and `refresh`.
        """
        return self._folder.place

    @property
    def published(self) -> Path | None:
        """The folder that was published last; `None` if nothing was."""
        return self._folder.published

    @property
    def is_published(self) -> bool:
        """Whether the collection is as it was published, without changes."""
        return self._folder.is_published

    @property
    def name(self) -> str:
        """The folder's name for error messages."""
        return self._folder.name

    def begin(self) -> Path:
        """Begin to change what was published, in a copy; every method that writes does it too.

        Returns:
            The folder with the collection and the files beside it, which are copied with it and may
            be changed from now on.

        Raises:
            StoreError: The store is read-only, or there is no space for the copy.
        """
        with self._folder.using("Preparing changes"):
            return self._folder.begin()

    def flush(self) -> None:
        """Have the system write all changes to the disk, so that they survive a loss of power."""
        with self._folder.using("Writing to the disk"):
            self._folder.flush()

    def publish(self, files: Sequence[str] = ()) -> None:
        """Publish the collection as it is, for those who open it with `read_only=True`.

        What was published before stays as it is for those who have it open, and is then removed.

        Args:
            files: Names of files beside the collection that belong to it, and are published with
                it. None may be open.
        """
        with self._folder.using("Publishing"):
            self._folder.publish(files)

    def refresh(self) -> bool:
        """Open what was published since, if the store is read-only.

        Returns:
            Whether there was anything.
        """
        with self._folder.using("Opening the collection"):
            return self._folder.refresh()

    def close(self) -> None:
        """Write pending changes and unlock the folder. Idempotent."""
        self._folder.close()

    def __reduce__(self) -> Any:
        raise StoreError(
            f"{self.name} is open in this process and cannot be pickled or copied. Send the path, "
            "and open it there once this process has closed it."
        )
