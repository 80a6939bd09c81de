"""`Store`, the base class of every store: documents with vectors in, ranked ids out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Id, Keys, Point
from qwen3_rag_hybrid.stores.record import FIELD_TYPES, CollectionRecord, Finding

__all__ = ["AsyncStore", "Query", "Store"]


@dataclass(frozen=True, eq=False)
class Query:
    """A query in the forms that stores search by.

    Attributes:
        vector: The dense vector, of unit length.
        sparse: The terms as a vector, for a store that multiplies sparse vectors with IDF.
        terms: The same terms as words, for a store with a BM25 of its own. Such a store keeps
            `qwen3_rag.lexical.tokens(text)` of each document. Empty where the query has no term.
    """

    vector: FloatArray
    sparse: SparseVector
    terms: Sequence[str]


class Store(ABC):
    """One collection of one store.

    All methods may be called from any thread, and block. Ids are those of the documents, whatever
    the store makes of them. Methods raise `StoreError` where the store does not do as asked; those
    that need the collection do so too where there is none.

    Attributes:
        field_types: The types of payload fields that can be declared.
        aio: The same collection behind a native async client. Without one, `HybridSearcher` calls
            the blocking methods on a thread of its own when it is awaited.
    """

    field_types: ClassVar[Sequence[str]] = FIELD_TYPES
    aio: AsyncStore | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The collection, for messages: `"The collection 'documents'"`."""

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text and id: a document's payload must not have them."""
        return Keys()

    @abstractmethod
    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Make the collection and keep the record; nothing where that has been done.

        Where there is a record that differs in its fields only, it is replaced.

        Args:
            record: What the collection is for.
            adopt: Whether to take over a collection without a record that has points in it.
        """

    @abstractmethod
    def record(self) -> CollectionRecord | None:
        """Give the record; `None` where the collection has none or is not there."""

    @abstractmethod
    def check(self, record: CollectionRecord) -> list[Finding]:
        """Compare how the store keeps the collection with what `record` needs.

        A collection that is not there is one finding with the code `"missing"`.
        """

    @abstractmethod
    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Refuse a filter that cannot be meant. Asks no server.

        Args:
            filter: What the caller gave, `None` for none.
            fields: The declared payload fields; empty where any may be there.

        Raises:
            InputTypeError: Not the store's own filter.
            InputError: It names a field that no document has.
        """

    @abstractmethod
    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same ids. All of them are there on return."""

    @abstractmethod
    def delete(self, ids: Sequence[Id]) -> None:
        """Remove documents; ids that are not there are no error."""

    @abstractmethod
    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Give the best `limit` by `search.DENSE` and by `search.BM25`, scores as the store's.

        Both names are there; the list of BM25 is empty for a query without any term.
        """

    @abstractmethod
    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look documents up; those that are not there are left out."""

    @abstractmethod
    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Go through all documents, in the store's order."""

    @abstractmethod
    def count(self, *, filter: Any = None) -> int:
        """Count documents exactly; 0 where there is no collection."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened here; a client that was handed in stays open. Twice is fine."""


class AsyncStore(Protocol):
    """What a searcher awaits of a store with a native async client: methods as `Store` has them."""

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

    async def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """See `Store.search`."""

    async def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """See `Store.retrieve`."""
