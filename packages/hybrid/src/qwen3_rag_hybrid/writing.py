"""The methods of `HybridSearcher` that make a collection and change what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qwen3_rag.integration import Progress, run, run_async
from qwen3_rag_hybrid.collection import Collection
from qwen3_rag_hybrid.documents import Document, Id
from qwen3_rag_hybrid.stores.base import Store

__all__ = ["Writing"]


class Writing:
    """A searcher's changes of its collection, blocking and async.

    Attributes:
        store: The collection.
    """

    store: Store
    _collection: Collection

    def create(
        self,
        *,
        fields: Mapping[str, str] | None = None,
        sample: Iterable[str] | None = None,
        adopt: bool = False,
        tenants: bool = False,
        short_dim: int | None = None,
    ) -> None:
        """Create the collection, and record its model, dim and encoder.

        If it exists already, only new `fields` are added.

        Args:
            fields: Payload fields to filter by, and their types: `"keyword"`, `"integer"`,
                `"float"`, `"bool"`, `"datetime"`, `"text"`, `"uuid"` or `"geo"`. Each is indexed if
                the store has indexes. Once fields are declared, a filter on any other field is an
                `InputError`; without declared fields, such a filter finds nothing.
            sample: Texts like those of a new collection, to measure `avg_len` of the BM25 encoder;
                fewer than 200 leave the default. Without a sample, the first `add` measures it.
            adopt: Whether to use an existing collection that has points but no record.
            tenants: Whether each document of a new collection belongs to a tenant. Documents are
                then added, found, counted and deleted for one tenant at a time, which `tenant`
                names, and never seen by another.
            short_dim: Find candidates by the first numbers of their vectors, this many of them, and
                score these by their whole vectors: less memory for a large collection, with a few
                candidates missed. Chosen when the collection is made.

        Raises:
            InputError: The store does not support a field's type, `sample` is given beside
                `encoder`, or `short_dim` is below 32 or not below the size of the vectors.
            StoreError: The collection exists and does not match, or cannot be created; or the
                store cannot keep tenants apart.
        """
        run(self._collection.create(fields, sample, adopt, tenants, short_dim))

    async def acreate(
        self,
        *,
        fields: Mapping[str, str] | None = None,
        sample: Iterable[str] | None = None,
        adopt: bool = False,
        tenants: bool = False,
        short_dim: int | None = None,
    ) -> None:
        """Create the collection without blocking the event loop; see `create`."""
        await run_async(self._collection.create(fields, sample, adopt, tenants, short_dim))

    def add(
        self,
        documents: Iterable[Document],
        *,
        progress: Progress = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Embed and write documents; a document with an existing id replaces the old one.

        All documents are checked before the first is written. If the call is interrupted, complete
        batches have been written; adding all documents again gives the result of an uninterrupted
        call.

        The first call on an empty collection measures the mean length of its documents for BM25,
        if there are at least 200, unless an `encoder` or a sample was given. It is recorded with
        the collection and used from then on.

        Args:
            documents: The documents to add. If several have the same id, the last one counts.
            progress: Whether to show a progress bar on a terminal; or a function to call, from
                another thread, with the number of newly embedded documents.
            batch_size: Number of documents to embed and write at once.
            tenant: The tenant that the documents belong to; needed if the collection has tenants.

        Returns:
            The number of documents passed.

        Raises:
            InputError: A document's id, text or payload is invalid; or the collection has tenants
                and none is named, or the other way round.
            StoreError: The collection does not exist, has another model, dim or encoder, or cannot
                be written.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._collection.add(documents, progress, batch_size, tenant))

    async def aadd(
        self,
        documents: Iterable[Document],
        *,
        progress: Progress = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Add documents without blocking the event loop; see `add`."""
        return await run_async(self._collection.add(documents, progress, batch_size, tenant))

    def replace(
        self,
        documents: Iterable[Document],
        *,
        by: str,
        values: Iterable[str | int] | None = None,
        progress: Progress = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Replace all chunks of some texts, such as files, by new ones.

        The new documents are written first. Then, all others with the same value in the payload
        field `by` are deleted. If the call is interrupted, some of the others are still there, and
        calling it again gives the result of an uninterrupted call.

        Args:
            documents: The new documents.
            by: A declared payload field of the type `"keyword"`, `"integer"` or `"uuid"`, which
                says what a document is a chunk of.
            values: The values of `by` whose documents are replaced. Those of the new documents
                when omitted; needed for a text that has no chunks any more.
            progress: As in `add`.
            batch_size: As in `add`.
            tenant: As in `add`.

        Returns:
            The number of documents deleted.

        Raises:
            InputError: As in `add`; or `by` is not such a field, a document has no value there or
                one that is not in `values`, or there are neither documents nor values.
            StoreError: As in `add`.
            ModelError: As in `add`.
            BackendError: As in `add`.
        """
        replacing = self._collection.replace(documents, by, values, progress, batch_size, tenant)
        return run(replacing)

    async def areplace(
        self,
        documents: Iterable[Document],
        *,
        by: str,
        values: Iterable[str | int] | None = None,
        progress: Progress = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Replace chunks without blocking the event loop; see `replace`."""
        replacing = self._collection.replace(documents, by, values, progress, batch_size, tenant)
        return await run_async(replacing)

    def delete(
        self,
        ids: Iterable[Id] | None = None,
        *,
        filter: Any = None,
        everything: bool = False,
        tenant: str | None = None,
    ) -> None:
        """Delete documents. Needs no model.

        Args:
            ids: Ids of the documents, as passed to `add`; unknown ids are ignored.
            filter: The store's own filter object. Beside `ids`, only documents that pass it.
            everything: Whether to delete all documents; then, there are no `ids` and no `filter`.
            tenant: The tenant whose documents to delete; needed if the collection has tenants.

        Raises:
            InputError: An id is invalid, the filter names an unknown field or has no conditions, or
                nothing says what to delete; or `tenant` is invalid, as in `add`.
            StoreError: The collection does not exist or cannot be written.
        """
        run(self._collection.delete(ids, filter, everything, tenant))

    async def adelete(
        self,
        ids: Iterable[Id] | None = None,
        *,
        filter: Any = None,
        everything: bool = False,
        tenant: str | None = None,
    ) -> None:
        """Delete documents without blocking the event loop; see `delete`."""
        await run_async(self._collection.delete(ids, filter, everything, tenant))

    def tenants(self) -> list[str]:
        """List the tenants that have documents, in alphabetical order. Needs no model.

        Empty for a collection without tenants.
        """
        return self.store.tenants()

    def delete_tenant(self, tenant: str) -> None:
        """Delete all documents of a tenant; an unknown one is ignored. Needs no model.

        Args:
            tenant: The tenant's name.

        Raises:
            InputError: The name is invalid, or the collection has no tenants.
            StoreError: The collection does not exist or cannot be written.
        """
        run(self._collection.delete_tenant(tenant))

    async def adelete_tenant(self, tenant: str) -> None:
        """Delete a tenant without blocking the event loop; see `delete_tenant`."""
        await run_async(self._collection.delete_tenant(tenant))
