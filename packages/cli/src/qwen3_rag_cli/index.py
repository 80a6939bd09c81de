"""`Index`: a vector collection, and a manifest of the files in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen3_rag.backends import Capabilities
from qwen3_rag.errors import InputError, StoreError
from qwen3_rag.fusion import DEFAULT_CANDIDATES
from qwen3_rag.integration import Checkpoint, Closing
from qwen3_rag_cli import folders
from qwen3_rag_cli.manifest import Manifest
from qwen3_rag_cli.models import Models, Runtime
from qwen3_rag_cli.places import Place
from qwen3_rag_cli.shared_manifest import SharedManifest
from qwen3_rag_hybrid import HybridSearcher, Store, open_store, renew_bm25

if TYPE_CHECKING:
    from qwen3_rag_hybrid import QdrantEdgeStore

__all__ = ["FIELDS", "Depths", "Index", "NoIndexError"]

#: Payload fields of a chunk that can be filtered by, and their types.
FIELDS = {"path": "keyword", "kind": "keyword"}

_SHOWN = 5  # tenants in an error message


@dataclass(frozen=True)
class Depths:
    """How many hits each step of a search passes on.

    Attributes:
        limit: Hits to show.
        candidates: Hits to take from each retriever.
        rerank: Fused hits to rerank, 0 for none.

    Raises:
        InputError: A number is out of range.
    """

    limit: int = 10
    candidates: int = DEFAULT_CANDIDATES
    rerank: int = 20

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("candidates", 1), ("rerank", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"`--{name}` must be at least {least}, got {value}.")
        if self.limit > self.candidates:
            raise InputError(
                f"`--limit` {self.limit} is more than the {self.candidates} candidates to choose "
                "from. Raise --candidates."
            )


class NoIndexError(StoreError):
    """There is no index yet."""


class Index(Closing):
    """An open index.

    In a folder, the manifest is beside the collection, and `publish` makes both a state that any
    number of processes can open, while one changes a copy; the operating system releases its lock
    when it ends, however it ends. In any other store, the manifest is in the collection, and what
    the store allows is allowed.

    Attributes:
        place: Where it is.
        tenant: The tenant whose index it is; `None` for the whole collection.
        store: The whole collection.
        collection: The tenant's documents in it, or all of them.
        manifest: The files in it.
        damage: What was given up because it was damaged, to be indexed again; empty if nothing was.
    """

    store: Store
    collection: Store
    manifest: Manifest | SharedManifest
    _published: QdrantEdgeStore | None = None

    def __init__(
        self,
        place: Place,
        *,
        create: bool = False,
        write: bool = False,
        tenant: str | None = None,
        overall: bool = False,
        wait: float = 0.0,
    ) -> None:
        """Open an index.

        Args:
            place: Where it is.
            create: Whether to create it if it does not exist, and to open it for writing.
            write: Whether to open it for writing. An index in a folder is otherwise opened as it
                was published last.
            tenant: The tenant whose index to open.
            overall: Whether an index with tenants may be opened without one, to look at what
                concerns all of them.
            wait: Seconds to wait for another process that writes to an index in a folder.

        Raises:
            InputError: The index has tenants and none is named, or the other way round.
            NoIndexError: The index does not exist.
            StoreError: It is in use or damaged, the folder contains other files, or the server does
                not answer.
            MissingExtraError: The store's client is not installed.
        """
        self.place, self.tenant, self.damage = place, tenant, ""
        folder = place.folder
        self._is_made = False
        if folder is None:
            self.store = open_store(place.address)
            try:
                self._check_tenant(create=create, overall=overall)
                self.collection = self.store if tenant is None else self.store.for_tenant(tenant)
            except BaseException:
                self.store.close()
                raise
            self.manifest = SharedManifest(self.collection)
            return
        if tenant is not None:
            raise InputError(
                f"`--tenant` is {tenant!r}, and an index in a folder has no tenants. Use a folder "
                "for each, or a collection in another --store."
            )
        if not create and not folders.holds_index(folder):
            folders.check_kind(folder)
            raise self._missing()
        if create or write:
            self._is_made = not folder.exists()
            opened, self.manifest, self.damage = folders.open_to_write(folder, wait)
        else:
            opened, self.manifest = folders.open_to_read(folder)
        self.store = self.collection = self._published = opened

    @property
    def name(self) -> str:
        """The index for messages."""
        return f"The index at {str(self.place)!r}"

    def models(
        self, model: str | None, reranker: str | None, runtime: Runtime, *, dim: int | None = None
    ) -> Models:
        """Choose the models: those given, otherwise those the index was made with.

        Args:
            model: The value from the command line.
            reranker: The value from the command line.
            runtime: Where the models run.
            dim: The value from the command line.
        """
        record = self.collection.record()
        made = Models.from_record(self.manifest.record())
        if made is None and record is not None:
            made = Models.chosen(record.model, None)
        if dim is None and record is not None:
            dim = record.dim
        return Models.chosen(model, reranker, dim=dim, runtime=runtime, recorded=made)

    def check_encoder(self) -> None:
        """Check that the index has the BM25 terms of this release.

        Raises:
            StoreError: It has those of another one.
        """
        record = self.collection.record()
        if record is None or record.has_present_terms:
            return
        where = f"{self.name} was made with"
        if record.is_of_later_encoder:
            raise StoreError(
                f"{where} version {record.encoder['encoder_version']} of the BM25 encoder, by a "
                "later release of qwen3-rag. Update this one, or index into another --store."
            )
        raise StoreError(
            f"{where} another version of the BM25 encoder. Run `qwen3-rag index` with the same "
            "paths, which renews its terms and embeds nothing again."
        )

    def check_name(self, models: Models) -> None:
        """Check that a model which would be downloaded is the index's own.

        One on disk is compared by its content, in `check_models`.

        Raises:
            StoreError: The index was made with another model.
        """
        record = self.collection.record()
        if record is None or models.embedding == record.model or models.is_at_hand():
            return
        raise StoreError(
            f"{self.name} was made with the model {record.model!r}, not with "
            f"{models.embedding!r}, which is not on this machine. Leave out --model, or index into "
            "another --store."
        )

    def check_models(self, models: Models, identity: Checkpoint | Capabilities) -> str:
        """Check that the index was made with these models.

        Args:
            models: The models to use.
            identity: What has the embedding model's fingerprints.

        Returns:
            The model's fingerprint as the index has it, or will have it.

        Raises:
            StoreError: It was made with another model or dim.
        """
        record = self.collection.record()
        if record is None:
            return identity.fingerprint
        where = f"{self.name} was made with"
        instead = "index into another --store"
        is_earlier = record.fingerprint == identity.earlier_fingerprint
        if not is_earlier and not record.is_of(models.embedding, identity.fingerprint):
            raise StoreError(
                f"{where} the model {record.model!r} (fingerprint {record.fingerprint}), not "
                f"with {models.embedding!r} ({identity.fingerprint}); vectors of two "
                f"models cannot be compared. Leave out --model, or {instead}."
            )
        if models.dim is not None and models.dim != record.dim:
            raise StoreError(
                f"{where} vectors of size {record.dim}, not {models.dim}. Leave out --dim, or "
                f"{instead}."
            )
        return record.fingerprint

    def check_known(self) -> None:
        """Check that the tenant has documents.

        Raises:
            StoreError: It has none.
        """
        if self.tenant is not None and self.tenant not in self.store.tenants():
            raise StoreError(
                f"{self.name} has no tenant {self.tenant!r}. {self._known_tenants()} Fill it with "
                "`qwen3-rag index PATHS`, with the same --store and --tenant."
            )

    def renew(self) -> int:
        """Renew BM25 terms of an earlier release.

        Returns:
            The number of chunks renewed.

        Raises:
            StoreError: A later release made the index.
        """
        return renew_bm25(self.store) if self.store.record() is not None else 0

    @contextmanager
    def searcher(self, models: Models, depths: Depths) -> Iterator[HybridSearcher]:
        """Open a searcher on the index; the models are closed at the end of the context.

        Args:
            models: Those the index was made with, and a reranker.
            depths: How many hits each step passes on.

        Raises:
            InputError: An option applies to none of the models.
            StoreError: The index is empty, or was made with other models.
            BackendError: A model's server does not answer, or does not run this model.
        """
        if self.collection.record() is None:
            raise StoreError(f"{self.name} is empty. Fill it with `qwen3-rag index PATHS`.")
        models.check_options(reranks=depths.rerank > 0)
        self.check_name(models)
        with ExitStack() as opened:
            embedder = opened.enter_context(models.embedder())
            self.check_models(models, models.identity(embedder))
            self.check_encoder()
            reranker = opened.enter_context(models.reranker()) if depths.rerank else None
            yield opened.enter_context(
                HybridSearcher(
                    self.store,
                    embedder,
                    reranker,
                    candidates=depths.candidates,
                    rerank_depth=depths.rerank,
                )
            )

    def reconcile(self) -> None:
        """Repair manifest and collection if only one of them was changed or lost.

        A killed run needs no repair; this handles deletion, restored backups and power loss.
        """
        if isinstance(self.manifest, SharedManifest):
            return  # it is the collection
        if self.collection.record() is None:
            self.manifest.forget()
            return
        if self.collection.count() == self.manifest.count():
            return
        stored = {str(point.document.id) for point in self.collection.scan()}
        listed = self.manifest.ids()
        self.manifest.forget(listed - stored)
        if stored - listed:
            self.collection.delete(sorted(stored - listed))

    def remove(self, path: str) -> int:
        """Remove a file's chunks.

        Args:
            path: Its path in the index.

        Returns:
            The number of chunks removed.

        Raises:
            StoreError: The index cannot be written.
        """
        ids = sorted(self.manifest.chunks(path))
        self.manifest.mark_dirty((id_, path) for id_ in ids)
        if ids:
            self.collection.delete(ids)
        self.manifest.mark_clean(deleted=ids, gone=[path])
        return len(ids)

    def flush(self) -> None:
        """Have the system write an index in a folder to the disk."""
        if self._published is not None:
            self._published.flush()

    def publish(self) -> None:
        """Make what an index in a folder has now what others open."""
        if self._published is None or self.collection.record() is None:
            return
        self._is_made = False
        self.manifest.close()
        self._published.publish([folders.MANIFEST])
        self.manifest = folders.manifest_of(self._published)

    def close(self) -> None:
        """Close manifest and collection; a new folder in which nothing was written is removed."""
        # A searcher may have closed the collection before.
        with ExitStack() as closing:
            closing.callback(self.store.close)
            closing.callback(self.manifest.close)
            is_unused = self._is_made and not self.manifest.paths()
            self._is_made = False
        if is_unused and self.place.folder is not None:
            shutil.rmtree(self.place.folder, ignore_errors=True)

    @property
    def has_tenants(self) -> bool:
        """Whether the collection has tenants."""
        record = self.store.record()
        return record is not None and record.tenants

    def _check_tenant(self, *, create: bool, overall: bool) -> None:
        """Check that the index exists, and that a tenant is named exactly if it has any."""
        if self.store.record() is None:
            if not create:
                raise self._missing()
        elif self.tenant is not None and not self.has_tenants:
            raise InputError(
                f"{self.name} has no tenants. Leave out --tenant, or index into another --store."
            )
        elif self.has_tenants and self.tenant is None and not overall:
            raise InputError(
                f"{self.name} has tenants, and none is named. {self._known_tenants()} Name the one "
                "to use with --tenant NAME."
            )

    def _known_tenants(self) -> str:
        names = self.store.tenants()
        if not names:
            return "None has files yet."
        shown = ", ".join(map(repr, names[:_SHOWN]))
        return f"They are {shown}{', ...' if names[_SHOWN:] else ''}."

    def _missing(self) -> NoIndexError:
        store = "" if self.place.folder else f" --store {self.place}"
        if self.tenant is not None:
            store += f" --tenant {self.tenant}"
        return NoIndexError(
            f"There is no index at {str(self.place)!r}. Make one with `qwen3-rag index "
            f"PATHS{store}`, or name another with --store."
        )
