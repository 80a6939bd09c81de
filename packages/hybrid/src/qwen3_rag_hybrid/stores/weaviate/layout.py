"""How a document is laid out in an object of Weaviate: its UUID, its properties, its vector."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from weaviate.classes.config import DataType, Property, Tokenization

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import BM25Encoder, tokens
from qwen3_rag.search import DENSE
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point, from_payload, point_id

__all__ = [
    "FIELD_TYPES",
    "ID",
    "KEYS",
    "PROPERTIES",
    "TERMS",
    "check_field_names",
    "check_number",
    "check_tenant_name",
    "field_property",
    "object_id",
    "own_id",
    "read_point",
    "to_properties",
]

ID = "_document_id"
PAYLOAD = "_payload"
TERMS = "_bm25"
KEYS = Keys("text", ID)

# This must never change: the integer ids of all collections were mapped with it.
_INTEGERS = UUID("0f4c2f0e-93a4-5d0f-8a53-9f4f1c1f6f0b")

#: The properties of every collection. Only the terms are searched, and only the id is filtered by.
PROPERTIES = {
    KEYS.text: Property(
        name=KEYS.text,
        data_type=DataType.TEXT,
        description="The document's text.",
        index_filterable=False,
        index_searchable=False,
    ),
    TERMS: Property(
        name=TERMS,
        data_type=DataType.TEXT,
        description="The BM25 terms of the text, separated by spaces.",
        tokenization=Tokenization.WHITESPACE,
        index_filterable=False,
        index_searchable=True,
    ),
    PAYLOAD: Property(
        name=PAYLOAD,
        data_type=DataType.TEXT,
        description="The document's payload as JSON.",
        index_filterable=False,
        index_searchable=False,
    ),
    ID: Property(
        name=ID,
        data_type=DataType.TEXT,
        description="The document's id.",
        tokenization=Tokenization.FIELD,
        index_filterable=True,
        index_searchable=False,
    ),
}

# Fields are arrays, because a payload may have a list where another has one value.
_DATA_TYPES = {
    "keyword": DataType.TEXT_ARRAY,
    "integer": DataType.INT_ARRAY,
    "float": DataType.NUMBER_ARRAY,
    "bool": DataType.BOOL_ARRAY,
    "datetime": DataType.DATE_ARRAY,
    "text": DataType.TEXT_ARRAY,
    "uuid": DataType.UUID_ARRAY,
}
_TOKENIZATIONS = {"keyword": Tokenization.FIELD, "text": Tokenization.WORD}

FIELD_TYPES = tuple(_DATA_TYPES)

_RESERVED = {"id", "vector", "_id", "_additional", *PROPERTIES}
_LONGEST_NAME = 128  # below any server's limit
_LARGEST = 2**64  # more than any integer in a payload

_LONGEST_TENANT = 64
_TENANT_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_TENANT}}}")


def check_field_names(names: Iterator[str] | Mapping[str, str]) -> None:
    """Reject payload fields that cannot be properties of a collection.

    Raises:
        InputError: A name is not a property name of Weaviate, or is taken.
    """
    for name in names:
        usable = name.isascii() and name.isidentifier() and len(name) <= _LONGEST_NAME
        if not usable or name[0].isupper():
            raise InputError(
                f"The field {name!r} cannot be declared in Weaviate: names consist of ASCII "
                "letters, digits and underscores, and begin with a lower-case letter or an "
                "underscore. Rename it in the payloads, or leave it undeclared."
            )
        if name in _RESERVED:
            raise InputError(
                f"The field {name!r} cannot be declared in Weaviate, which keeps the name, or this "
                "store does. Rename it in the payloads, or leave it undeclared."
            )


def check_tenant_name(name: str) -> None:
    """Reject a name that no tenant of the server can have.

    Raises:
        InputError: It has other characters, or is too long.
    """
    if not _TENANT_NAME.fullmatch(name):
        raise InputError(
            f"The tenant {name[:_LONGEST_TENANT]!r} cannot be one of Weaviate: names consist of "
            f"ASCII letters, digits, '_' and '-', {_LONGEST_TENANT} of them at most. Use an id, "
            "such as a UUID, or a digest of the name."
        )


def check_number(value: Any, where: str) -> None:
    """Reject an integer that the server would take for another one: it compares 64-bit floats.

    Args:
        value: An integer; any other value is allowed.
        where: What has it, for the error message.

    Raises:
        InputError: No float is equal to it.
    """
    if isinstance(value, int) and abs(value) <= _LARGEST and float(value) != value:
        raise InputError(
            f"{where} has the integer {value}, and Weaviate compares integers as floats, which are "
            "exact up to 2^53. Keep it as a string, in a field of the type 'keyword'."
        )


def field_property(name: str, kind: str) -> Property:
    """Make the property for a declared payload field."""
    return Property(
        name=name,
        data_type=_DATA_TYPES[kind],
        tokenization=_TOKENIZATIONS.get(kind),
        index_filterable=True,
        index_searchable=False if kind in _TOKENIZATIONS else None,
    )


def object_id(id_: Id) -> str:
    """Map a document's id to the UUID of its object.

    Raises:
        InputTypeError: The id is neither a string nor an integer.
        InputError: The id is an empty string, or an integer outside 0 to 2^64 - 1.
    """
    place = point_id(id_)
    return place if isinstance(place, str) else str(uuid5(_INTEGERS, str(place)))


def own_id(uuid: Any, properties: Mapping[str, Any]) -> Id:
    """Read a document's id; an integer is told from the same digits in a string by the UUID."""
    text = properties.get(ID)
    if not isinstance(text, str):
        return str(uuid)
    # The length is that of 2^64; longer strings of digits are not integers, and slow to convert.
    if text.isdecimal() and len(text) <= 20 and str(uuid) == str(uuid5(_INTEGERS, text)):
        return int(text)
    return text


def to_properties(document: Document, fields: Mapping[str, str]) -> dict[str, Any]:
    """Make an object's properties.

    Args:
        document: The document.
        fields: The declared payload fields. Values of another type are not filtered by, but come
            back with the payload.
    """
    properties: dict[str, Any] = {
        KEYS.text: document.text,
        TERMS: " ".join(tokens(document.text)),
        PAYLOAD: json.dumps(dict(document.payload), ensure_ascii=False, separators=(",", ":")),
        ID: str(document.id),
    }
    for name, kind in fields.items():
        given = document.payload.get(name)
        values = given if isinstance(given, (list, tuple)) else [given]
        found = [one for one in map(_CONVERTERS[kind], values) if one is not None]
        if found:
            properties[name] = found
    return properties


def read_point(found: Any, encoder: BM25Encoder | None) -> Point:
    """Read an object.

    Args:
        found: The client's object, with the properties in `PROPERTIES`.
        encoder: Weighs the terms of the text, which the object has without weights; `None` to
            leave out both vectors.
    """
    properties = {key: value for key, value in found.properties.items() if value is not None}
    payload = json.loads(properties.get(PAYLOAD, "{}"))
    text = {KEYS.text: properties[KEYS.text]} if KEYS.text in properties else {}
    document = from_payload(own_id(found.uuid, properties), {**payload, **text}, KEYS)
    if encoder is None:
        return Point(document)
    dense = found.vector.get(DENSE)
    return Point(
        document,
        None if dense is None else np.asarray(dense, dtype=np.float32),
        encoder.encode_document(document.text),
    )


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and value < 2**63
    return value if fits else None


def _float(value: Any) -> float | None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if fits else None


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _datetime(value: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (AttributeError, TypeError, ValueError):
        return None


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "keyword": _string,
    "integer": _integer,
    "float": _float,
    "bool": _bool,
    "datetime": _datetime,
    "text": _string,
    "uuid": _uuid,
}
