"""`Store`, the base class of every store: holds documents with vectors and returns ranked ids."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np

from qwen3_rag.errors import InputError, StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point
from qwen3_rag_hybrid.stores.fields import FIELD_TYPES
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_tenant

__all__ = ["NO_TERMS", "AsyncStore", "Query", "Store", "is_recent", "parts"]

#: The sparse vector of a query or document without terms.
NO_TERMS = SparseVector(np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.float32))

#: Seconds after which a collection is looked at again: its name may be an alias, which can move to
#: a collection of another model, with tenants or without.
LASTING = 60.0

AnyStore = TypeVar("AnyStore", bound="Store")


@dataclass(frozen=True, eq=False)
class Query:
    """A query in the forms that stores need.

    Attributes:
        vector: The dense vector, of unit length.
        sparse: The terms as a vector, for a store that applies the IDF to sparse vectors.
        terms: The same terms as words, each repeated by four times its weight, for a store with its
            own BM25. Such a store indexes `qwen3_rag.lexical.tokens(text)` of each document. Empty
            if the query has no terms.
        text: The query's text, for a collection whose texts the store's own BM25 searches, because
            it has no terms. Empty for all others.
        short_dim: Size of the collection's short vectors, by which candidates are found; `None` if
            it has none.
    """

    vector: FloatArray
    sparse: SparseVector
    terms: Sequence[str]
    text: str = ""
    short_dim: int | None = None


class Store(ABC):
    """One collection of one store.

    All methods block and may be called from any thread. Ids are the documents' ids, even if the
    store maps them to others. Methods raise `StoreError` if the store fails, or if they need the
    collection and it does not exist.

    Each document of a collection with tenants belongs to one of them. The methods that read or
    write documents are then those of `for_tenant`'s store, and raise `InputError` on any other.

    Attributes:
        field_types: The types of payload fields that can be declared.
        can_have_tenants: Whether the store can keep tenants apart.
        tenant: The tenant whose documents these are; `None` for the whole collection.
        has_aliases: Whether collections can have aliases.
        term_forms: In which of `Query`'s forms `search` reads the terms; the others are left empty.
        aio: The same collection with a native async client. Without one, the async methods of
            `HybridSearcher` call the blocking methods on a separate thread.
    """

    field_types: ClassVar[Sequence[str]] = FIELD_TYPES
    can_have_tenants: ClassVar[bool] = False
    tenant: str | None = None
    has_aliases: ClassVar[bool] = False
    term_forms: ClassVar[Sequence[str]] = ("sparse", "terms")
    aio: AsyncStore | None = None
    _close_client: Callable[[], object] | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The collection's name for error messages: `"The collection 'documents'"`."""

    @property
    def keys(self) -> Keys:
        """Payload fields with text and id, which a document's payload must not use."""
        return Keys()

    @property
    def terms_remedy(self) -> str:
        """What to do about a collection whose documents have no BM25 terms."""
        return (
            "Call `renew_bm25(store)`, which adds them and embeds nothing, and make a new searcher."
        )

    def for_tenant(self, tenant: str) -> Self:
        """Give the store of one tenant, which shares the client and everything else with this one.

        Its methods read and write the documents of the tenant alone. A tenant that has no documents
        is not an error, and its first document makes it. A store with an async client overrides
        this, to give one for the tenant.

        Args:
            tenant: The tenant's name. A store may limit its characters and length.

        Raises:
            InputTypeError: The name is not a string.
            InputError: The store cannot have a tenant of that name, or this one is for another.
            StoreError: The store cannot keep tenants apart.
        """
        self.check_tenants()
        check_tenant(tenant)
        if self.tenant not in (None, tenant):
            raise InputError(
                f"This store is for the tenant {self.tenant!r}, and cannot be used for {tenant!r}. "
                "Use the store that `for_tenant` was called on."
            )
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.tenant = tenant
        bound.aio = None  # that of this store is for the whole collection
        return bound

    def check_tenants(self) -> None:
        """Reject tenants if the store cannot keep them apart.

        Raises:
            StoreError: It cannot.
        """
        if not self.can_have_tenants:
            raise StoreError(
                f"{type(self).__name__} cannot keep tenants apart. Make a collection for each."
            )

    def tenants(self) -> list[str]:
        """List the tenants that have documents, in alphabetical order.

        Empty for a collection without tenants.

        Raises:
            InputError: This is the store of one tenant.
        """
        return []

    def delete_tenant(self, tenant: str) -> None:
        """Delete all documents of a tenant; an unknown one is ignored."""
        self.for_tenant(tenant).delete_matching(None)

    @abstractmethod
    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; do nothing if that has been done.

        An existing record that differs only in its fields is replaced.

        Args:
            record: The collection's record.
            adopt: Whether to use an existing collection that has points but no record.
        """

    @abstractmethod
    def record(self) -> CollectionRecord | None:
        """Return the record; `None` if the collection has none or does not exist."""

    @abstractmethod
    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record of an existing collection, without comparing the two."""

    @abstractmethod
    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection's configuration against `record`.

        A collection that does not exist gives one finding with the code `"missing"`.
        """

    @abstractmethod
    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter. Sends no request.

        Args:
            filter: The caller's filter, or `None`.
            fields: The declared payload fields; empty if none were declared, so that any field is
                allowed.

        Raises:
            InputTypeError: The filter is not of the store's own class.
            InputError: The filter names a field that no document has.
        """

    @abstractmethod
    def matching(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """Make a filter of the store's own class: each field has one of its values.

        Args:
            values: Fields of the payload, declared as `"keyword"`, `"integer"` or `"uuid"`, and the
                values wanted. At least one field, with at least one value each.
        """

    def value_of(self, payload: Mapping[str, Any], field: str) -> Any:
        """Return the value of a declared field that a filter from `matching` compares.

        Args:
            payload: A document's payload.
            field: The field, as it was declared.
        """
        return payload.get(field)

    @abstractmethod
    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Make the filter to send, in which documents' ids are replaced by the store's.

        Args:
            filter: The caller's filter, checked, or `None`.
            ids: Ids of the only documents that pass, if they pass `filter` too. Not empty.
        """

    def selects_all(self, filter: Any) -> bool:
        """Whether a filter has no conditions, so that every document passes."""
        return filter is None

    def check_documents(self, documents: Sequence[Document], record: CollectionRecord) -> None:
        """Reject documents that the store cannot hold, before any is embedded or written.

        Args:
            documents: The documents, which are valid in themselves.
            record: The collection's record.

        Raises:
            InputError: The store cannot hold one of them; the message names it.
        """
        return

    @abstractmethod
    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those with the same ids. All are stored on return."""

    def renew_terms(self, points: Sequence[Point], record: CollectionRecord) -> None:
        """Replace the BM25 terms of existing documents.

        Args:
            points: The points as read, with new sparse vectors.
            record: The record that the collection will have.
        """
        self.upsert(points)

    def lacking_terms(self) -> Iterator[Point]:
        """Iterate over the documents that another program added, without terms, to those with."""
        return iter(())

    @abstractmethod
    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; unknown ids are ignored."""

    @abstractmethod
    def delete_matching(self, filter: Any) -> None:
        """Delete all documents that pass a filter from `with_ids`; with `None`, every document."""

    @abstractmethod
    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Return the best `limit` hits for `search.DENSE` and `search.BM25`, with their scores.

        Both keys are always present; the BM25 list is empty for a query without terms.
        """

    @abstractmethod
    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; unknown ids are left out."""

    @abstractmethod
    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents, in the store's order."""

    @abstractmethod
    def count(self, *, filter: Any = None) -> int:
        """Count documents exactly; 0 if the collection does not exist."""

    def move_alias(self, alias: str) -> None:
        """Make an alias a name of this collection, instead of any other one, at once.

        Args:
            alias: The alias; it is created if it does not exist.

        Raises:
            StoreError: A collection has this name, or the store has no aliases.
        """
        raise StoreError(
            f"{self.name} cannot have the alias {alias!r}: a {type(self).__name__} has no aliases. "
            "Open the collection by its own name."
        )

    def owning(self, close: Callable[[], object]) -> Self:
        """Have `close` also close a client that was made for this store alone.

        Args:
            close: Closes the client.
        """
        self._close_client = close
        return self

    def close(self) -> None:
        """Close what the store opened; a client that was passed in stays open. Idempotent."""
        close, self._close_client = self._close_client, None
        if close is not None:
            close()


class AsyncStore(Protocol):
    """The interface of a native async client's store, with the same methods as `Store`."""

    async def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """See `Store.create`."""

    async def record(self) -> CollectionRecord | None:
        """See `Store.record`."""

    async def check(self, record: CollectionRecord) -> list[Finding]:
        """See `Store.check`."""

    async def upsert(self, points: Sequence[Point]) -> None:
        """See `Store.upsert`."""

    async def delete(self, ids: Sequence[Id]) -> None:
        """See `Store.delete`."""

    async def delete_matching(self, filter: Any) -> None:
        """See `Store.delete_matching`."""

    async def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """See `Store.search`."""

    async def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """See `Store.retrieve`."""


def is_recent(found_at: float) -> bool:
    """Whether what was found out about a collection is still used for reading.

    Args:
        found_at: When it was found out, by `time.monotonic`.
    """
    return time.monotonic() - found_at <= LASTING


def parts(store: AnyStore, record: CollectionRecord) -> list[AnyStore]:
    """Return the stores that have all of a store's documents: of each tenant, if it has tenants.

    Args:
        store: The store.
        record: The collection's record.
    """
    if record.tenants and store.tenant is None:
        return [store.for_tenant(tenant) for tenant in store.tenants()]
    return [store]
