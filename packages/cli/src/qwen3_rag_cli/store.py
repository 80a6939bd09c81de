"""The index's folder: the manifest and the vector collection in it, opened together.

Knows what lies where and whether it fits the models asked for; knows nothing of files or chunks.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from qwen3_rag.errors import StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_cli.manifest import Manifest
from qwen3_rag_cli.models import Models
from qwen3_rag_hybrid import CollectionSettings, QdrantEdgeStore

__all__ = ["FIELDS", "Store"]

MANIFEST = "manifest.sqlite3"

#: What chunks carry beside their text, as far as it can be filtered by.
FIELDS = {"path": "keyword", "kind": "keyword"}


class Store:
    """An index in a folder. One process at a time; the system frees it when the process ends."""

    def __init__(self, folder: Path, *, create: bool = False, base: Path | None = None) -> None:
        """Open an index.

        Args:
            folder: Where it is.
            create: Whether to make it if need be.
            base: The folder that paths in it are relative to; where `folder` lies when omitted.

        Raises:
            StoreError: There is none, it is in use or damaged, or the folder holds other things.
        """
        self.folder = Path(os.path.abspath(folder.expanduser()))
        self.base = base or self.folder.parent
        if not create and not (self.folder / MANIFEST).is_file():
            raise StoreError(
                f"There is no index at {str(folder)!r}. Make one with `qwen3-rag index PATHS`, or "
                "name another with --store."
            )
        if create:
            self._make_folder()
        # The collection first: its lock names who holds it.
        self.legs = QdrantEdgeStore(self.folder)
        try:
            self.manifest = Manifest(self.folder / MANIFEST)
        except BaseException:
            self.legs.close()
            raise

    @property
    def settings(self) -> CollectionSettings | None:
        """What the collection was made with, `None` before anything was added."""
        return self.legs.settings()

    @property
    def recorded(self) -> tuple[str, str] | None:
        """The models' names, as the index was made with; `None` for a new one."""
        record = self.manifest.record()
        if "model" not in record or "reranker" not in record:
            return None
        return record["model"], record["reranker"]

    def check(self, models: Models, fingerprint: str) -> None:
        """Make sure the index was made with these models.

        Args:
            models: Asked for.
            fingerprint: Of the embedding model.

        Raises:
            StoreError: It was made with another model, dim or lexical encoder.
        """
        settings = self.settings
        if settings is None:
            return
        where = f"The index at {str(self.folder)!r} was made with"
        instead = "index into another --store"
        if settings.fingerprint != fingerprint:
            raise StoreError(
                f"{where} the model {settings.model!r} (fingerprint {settings.fingerprint}), not "
                f"with {models.embedding!r} ({fingerprint}); vectors of two models cannot be "
                f"compared. Leave out --model, or {instead}."
            )
        if models.dim is not None and models.dim != settings.dim:
            raise StoreError(
                f"{where} vectors of {settings.dim} numbers, not {models.dim}. Leave out --dim, "
                f"or {instead}."
            )
        encoder = BM25Encoder().parameters
        if dict(settings.encoder) != encoder:
            raise StoreError(
                f"{where} the lexical encoder {dict(settings.encoder)}, and this version of "
                f"qwen3-rag has {encoder}. Install the version that made it, or {instead}."
            )

    def reconcile(self) -> None:
        """Bring manifest and collection together where one was changed or lost by itself.

        After a kill they fit already; this is for a collection that was deleted, copied back from
        somewhere, or cut short with the power.
        """
        if self.settings is None:
            self.manifest.forget()
            return
        if self.legs.count() == self.manifest.count():
            return
        stored = {str(point.document.id) for point in self.legs.scan()}
        listed = self.manifest.ids()
        self.manifest.forget(listed - stored)
        if stored - listed:
            self.legs.delete(sorted(stored - listed))

    def close(self) -> None:
        """Give the folder back."""
        self.manifest.close()
        self.legs.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in self.folder.iterdir()}
            if names and MANIFEST not in names and names != {".gitignore"}:
                raise StoreError(
                    f"The folder {str(self.folder)!r} has other things in it and no index. Name "
                    "an empty or new folder with --store."
                )
            # What is in here can be made again, and does not belong into a repository.
            (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"The index cannot be written at {str(self.folder)!r} "
                f"({error.strerror or error}). Name a folder you may write to with --store."
            ) from error
