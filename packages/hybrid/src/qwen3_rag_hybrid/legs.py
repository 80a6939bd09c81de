"""The seam between the searcher and whatever keeps the vectors: the `Legs` protocol.

Documents with vectors go in, ranked ids per leg come out. Knows no store and no fusion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Id, Keys, Point
from qwen3_rag_hybrid.settings import CollectionSettings, Finding

__all__ = ["DENSE", "LEXICAL", "Legs", "Ranked"]

#: Names of the two legs, in results, hits and weights.
DENSE, LEXICAL = "dense", "lexical"

#: For each leg's name its `(id, score)` pairs, best first.
Ranked: TypeAlias = dict[str, list[tuple[Id, float]]]


@runtime_checkable
class Legs(Protocol):
    """One collection of one store. Safe to call from any thread; every call blocks.

    Ids are those of the documents, whatever the store makes of them. All methods raise
    `StoreError` where the store does not do as asked.
    """

    @property
    def name(self) -> str:
        """The collection, for messages."""
        ...

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text and id: a document's payload must not have them."""
        ...

    def create(self, settings: CollectionSettings, *, adopt: bool = False) -> None:
        """Make the collection and record the settings; nothing when that has been done.

        Args:
            settings: What the collection is for.
            adopt: Whether to take over a collection without a record that has points in it.
        """
        ...

    def settings(self) -> CollectionSettings | None:
        """Give the record; `None` where the collection has none or is not there."""
        ...

    def check(self, settings: CollectionSettings) -> list[Finding]:
        """Compare how the store keeps the collection with what `settings` need."""
        ...

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Refuse a filter that cannot be meant.

        Args:
            filter: What the caller gave.
            fields: The declared payload fields; empty where any may be there.

        Raises:
            InputTypeError: Not the store's own filter.
            InputError: It names a field that no document has.
        """
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same ids. All of them are there on return."""
        ...

    def delete(self, ids: Sequence[Id]) -> None:
        """Remove documents; ids that are not there are no error."""
        ...

    def search(
        self, dense: FloatArray, lexical: SparseVector, *, limit: int, filter: Any = None
    ) -> Ranked:
        """Ask both legs for their best `limit`; without any term the lexical leg is empty."""
        ...

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look documents up; those that are not there are left out."""
        ...

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Go through all documents, in the store's order."""
        ...

    def count(self, *, filter: Any = None) -> int:
        """Count documents exactly."""
        ...

    def close(self) -> None:
        """Let go of what was opened here; a client that was handed in stays open."""
        ...
