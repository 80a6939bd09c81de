"""How LangChain, LlamaIndex and Haystack lay out a document in an object of Weaviate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import numpy as np
from weaviate.classes.config import DataType, Property, Tokenization
from weaviate.util import generate_uuid5

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point, from_payload, own_id, to_payload
from qwen3_rag_hybrid.stores.record import CollectionRecord

__all__ = ["ForeignLayout", "foreign_layout"]

_FORBIDDEN = {"id", "vector", "_id", "_additional"}

# A field holds one value, as the server's own schema for new properties has it.
_DATA_TYPES = {
    "keyword": DataType.TEXT,
    "integer": DataType.INT,
    "float": DataType.NUMBER,
    "bool": DataType.BOOL,
    "datetime": DataType.DATE,
    "text": DataType.TEXT,
    "uuid": DataType.UUID,
}


@dataclass(frozen=True)
class ForeignLayout:
    """The metadata are properties, and the server's own BM25 searches the text.

    A property with our terms would appear in the metadata that the frameworks read.

    Attributes:
        framework: The framework's name for error messages.
        keys: Where the parts of a document are.
        place: Maps a document's id to the UUID of its object.
        others: Properties that are neither text nor payload.
        dense: Name of the vector; `None` for the only one that there is.
    """

    framework: str
    keys: Keys
    place: Callable[[Id], str]
    others: frozenset[str] = frozenset()
    dense: str | None = None
    has_terms: ClassVar[bool] = False
    properties: ClassVar[None] = None  # to read: all

    @property
    def id_properties(self) -> Sequence[str]:
        """The properties that say a document's id."""
        return [self.keys.id] if self.keys.id else []

    @property
    def searched(self) -> str:
        """The property that the server's BM25 searches."""
        return self.keys.text

    @property
    def include_vector(self) -> Any:
        """What to ask the client for, to get the vector."""
        return True if self.dense is None else [self.dense]

    def recorded(self, record: CollectionRecord) -> CollectionRecord:
        """Return the record of a collection of this layout."""
        return replace(record, encoder={"text_field": self.keys.text})

    def object_id(self, id_: Id) -> str:
        """Map a document's id to the UUID of its object."""
        return self.place(id_)

    def own_id(self, uuid: Any, properties: Mapping[str, Any]) -> Id:
        """Read a document's id."""
        return own_id(str(uuid), properties, self.keys)

    def check_payload(self, document: Document) -> None:
        """Reject a payload whose fields cannot be properties, or not under their names.

        Raises:
            InputError: It has such a field.
        """
        for name in document.payload:
            usable = name.isascii() and name.isidentifier() and name not in _FORBIDDEN
            renamed = not self.keys.node and (name in self.others or name[:1].isupper())
            if not usable or renamed:
                raise InputError(
                    f"The payload of the document {document.id!r} has the field {name!r}, which "
                    "cannot be a property of Weaviate: names consist of ASCII letters, digits and "
                    "underscores, begin with a lower-case letter or an underscore, and some are "
                    "taken. Rename it."
                )

    def to_properties(self, document: Document, fields: Mapping[str, str]) -> dict[str, Any]:
        """Make an object's properties; a property has no null."""
        made = to_payload(document, self.keys)
        return {name: value for name, value in made.items() if value is not None}

    def to_vector(self, dense: list[float]) -> Any:
        """Make what the client takes for the vector."""
        return dense if self.dense is None else {self.dense: dense}

    def read_point(self, found: Any, encoder: BM25Encoder | None) -> Point:
        """Read an object; with the vector if there is an `encoder`."""
        properties = {
            name: _json(value)
            for name, value in found.properties.items()
            if value is not None and name not in self.others
        }
        document = from_payload(str(found.uuid), properties, self.keys)
        vector = self.read_vector(found)
        if encoder is None or vector is None:
            return Point(document)
        return Point(document, np.asarray(vector, dtype=np.float32))

    def read_vector(self, found: Any) -> Any:
        """Read the vector of an object; `None` if it was not asked for."""
        vectors = found.vector or {}
        if self.dense is None:
            return next(iter(vectors.values()), None)
        return vectors.get(self.dense)

    def field_property(self, name: str, kind: str) -> Property:
        """Make the property for a declared payload field."""
        tokenization = Tokenization.FIELD if kind == "keyword" else None
        return Property(name=name, data_type=_DATA_TYPES[kind], tokenization=tokenization)

    def schema(self, collection: str, description: str) -> dict[str, Any]:
        """Make a new collection's schema, without declared fields."""
        names = [self.keys.text, *self.id_properties]
        vector = {"vectorizer": "none", "vectorIndexConfig": {"distance": "cosine"}}
        if self.dense is not None:
            named = {**vector, "vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
            vector = {"vectorConfig": {self.dense: named}}
        return {
            "class": collection[:1].upper() + collection[1:],
            "description": description,
            "properties": [{"name": name, "dataType": ["text"]} for name in names],
            **vector,
        }


def foreign_layout(framework: str, *, dense: str | None, text: str | None) -> ForeignLayout:
    """Make the layout of a framework's collections; names that are given replace its own.

    Raises:
        InputError: The framework is unknown.
    """
    if framework not in _FRAMEWORKS:
        raise InputError(
            f"`layout` must be one of {', '.join(map(repr, _FRAMEWORKS))} or None, got "
            f"{framework!r}."
        )
    layout = _FRAMEWORKS[framework]
    keys = layout.keys if text is None else replace(layout.keys, text=text)
    return replace(layout, keys=keys, dense=dense)


def _uuid_of(framework: str) -> Callable[[Id], str]:
    def place(id_: Id) -> str:
        try:
            return str(UUID(id_))  # type: ignore[arg-type]
        except (AttributeError, TypeError, ValueError):
            raise InputError(
                f"The id of a document in a collection of {framework} must be a UUID, got {id_!r}: "
                "the id of its object is the only one it has. Make one of yours, such as "
                "`str(uuid.uuid5(uuid.NAMESPACE_URL, id))`."
            ) from None

    return place


def _of_haystack(id_: Id) -> str:
    if not isinstance(id_, str) or not id_:
        raise InputTypeError(
            f"The id of a document in Haystack must be a string that is not empty, got {id_!r}."
        )
    return str(generate_uuid5(id_))


def _json(value: Any) -> Any:
    """Convert what the client reads to JSON's types."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {name: _json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_json(one) for one in value]
    return value if isinstance(value, (str, int, float)) else str(value)


_FRAMEWORKS = {
    "langchain": ForeignLayout("LangChain", Keys("text", ""), _uuid_of("LangChain")),
    "llama-index": ForeignLayout(
        "LlamaIndex", Keys("text", "", node="_node_content"), _uuid_of("LlamaIndex")
    ),
    "haystack": ForeignLayout(
        "Haystack",
        Keys("content", "_original_id"),
        _of_haystack,
        frozenset({"score", "blob_data", "blob_mime_type"}),
    ),
}
