"""The layouts of Weaviate collections: this package's own, and those of frameworks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from weaviate.classes.config import Property

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import DENSE
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.weaviate.foreign import ForeignLayout, foreign_layout
from qwen3_rag_hybrid.stores.weaviate.layout import (
    ID,
    KEYS,
    PROPERTIES,
    TERMS,
    field_property,
    object_id,
    own_id,
    read_point,
    to_properties,
)

__all__ = ["Layout", "OwnLayout", "layout_of"]


class OwnLayout:
    """The payload is JSON in one property, and the server's BM25 searches our terms in another.

    For the methods, see `ForeignLayout`.
    """

    keys: Keys = KEYS
    has_terms = True
    dense: str = DENSE
    searched = TERMS
    id_properties: Sequence[str] = (ID,)
    # Lists, because the client takes no tuples.
    properties: ClassVar[list[str]] = [name for name in PROPERTIES if name != TERMS]
    include_vector: ClassVar[list[str]] = [DENSE]

    def recorded(self, record: CollectionRecord) -> CollectionRecord:
        """Return the record of a collection of this layout."""
        return record

    def object_id(self, id_: Id) -> str:
        """Map a document's id to the UUID of its object."""
        return object_id(id_)

    own_id = staticmethod(own_id)

    def check_payload(self, document: Document) -> None:
        """Accept any payload, as it is JSON."""

    def to_properties(self, document: Document, fields: Mapping[str, str]) -> dict[str, Any]:
        """Make an object's properties."""
        return to_properties(document, fields)

    def to_vector(self, dense: list[float]) -> Any:
        """Make what the client takes for the vector."""
        return {DENSE: dense}

    def read_point(self, found: Any, encoder: BM25Encoder | None) -> Point:
        """Read an object; with its vectors if there is an `encoder`."""
        return read_point(found, encoder)

    def read_vector(self, found: Any) -> Any:
        """Read the vector of an object; `None` if it was not asked for."""
        return found.vector.get(DENSE)

    def field_property(self, name: str, kind: str) -> Property:
        """Make the property for a declared payload field."""
        return field_property(name, kind)


Layout: TypeAlias = OwnLayout | ForeignLayout


def layout_of(framework: str | None, *, dense: str | None, text: str | None) -> Layout:
    """Make the layout of a framework's collections; `None` is this package's own.

    Raises:
        InputError: The framework is unknown, or names are given without one.
    """
    if framework is not None:
        return foreign_layout(framework, dense=dense, text=text)
    if dense is not None or text is not None:
        raise InputError(
            "`dense` and `text_key` name parts of a collection that another program made: pass "
            "`layout` too. This package's own collections have fixed names."
        )
    return OwnLayout()
