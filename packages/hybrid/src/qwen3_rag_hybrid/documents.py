"""Documents and points of a collection, and their ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid5

from qwen3_rag.errors import InputError, InputTypeError, StoreError
from qwen3_rag.fusion import Id
from qwen3_rag.integration import FloatArray, check_text
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid import nodes

__all__ = [
    "Document",
    "Id",
    "Keys",
    "Point",
    "check_documents",
    "check_ids",
    "from_payload",
    "own_id",
    "point_id",
    "to_payload",
]

T = TypeVar("T")

# This must never change: the string ids of all collections were mapped with it.
_NAMESPACE = UUID("5b0f8f3e-6f0c-5d0a-9a55-3c1f6b8f2a71")
# Nor must this: all ids of collections with tenants were mapped with it.
_TENANTS = UUID("c0c4f7bb-5d06-5f62-8d8e-0d5f7b1f9e64")
_LARGEST = 2**64 - 1
_UUID_LENGTH = 36
# Levels of objects and lists in a payload, which is the first. Qdrant's gRPC interface reads 33
# levels of objects, one of which some frameworks add; its JSON reads 123.
_DEEPEST = 32


@dataclass(frozen=True)
class Document:
    """A document to search for.

    Attributes:
        id: A non-empty string, or an integer from 0 to 2^64 - 1. Adding a document with an existing
            id replaces the old one.
        text: The text that is embedded, searched with BM25, and reranked.
        payload: Further fields with JSON values, for filters and returned with hits.
    """

    id: str | int
    text: str = field(repr=False)
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Point:
    """A document as stored.

    Attributes:
        document: The document.
        dense: Its vector of unit length; `None` if not requested.
        sparse: The weights of its terms; `None` if not requested, or if it has no terms.
    """

    document: Document
    dense: FloatArray | None = field(default=None, repr=False)
    sparse: SparseVector | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Keys:
    """Where a stored record has the parts of a document.

    Attributes:
        text: Field with the document's text; dots lead into nested fields, as in `"metadata.body"`.
            Empty if the text is in the `node` only.
        id: Field with the document's id, since the store's id may be a UUID derived from it. Empty
            if the store's id is the document's.
        payload: Field with the document's payload; empty if it is all the other fields.
        node: Field with the JSON of a LlamaIndex node; empty if there is none.
        tenant: Field with the document's tenant; empty if the collection has no tenants, or keeps
            them elsewhere.
    """

    text: str = "text"
    id: str = "_id"
    payload: str = ""
    node: str = ""
    tenant: str = ""

    def stored(self, fields: Mapping[str, T]) -> dict[str, T]:
        """Rename fields of the payload to where they are stored, as in `"metadata.path"`."""
        prefix = f"{self.payload}." if self.payload else ""
        return {prefix + name: value for name, value in fields.items()}

    @property
    def reserved(self) -> frozenset[str]:
        """The fields that a document's payload must not have."""
        if self.payload:
            return frozenset()
        fields = {self.text, self.id, self.tenant}
        if self.node:
            fields |= {self.node, *nodes.FIELDS}
        return frozenset(fields - {""})


def to_payload(document: Document, keys: Keys) -> dict[str, Any]:
    """Make the payload to store; it shares no objects with the caller."""
    payload: dict[str, Any] = _plain(document.payload, "payload")
    stored: dict[str, Any] = {keys.payload: payload} if keys.payload else dict(payload)
    if keys.node:
        stored |= nodes.fields_of_node()
        stored[keys.node] = nodes.to_json(
            str(document.id), "" if keys.text else document.text, payload
        )
    if keys.text:
        *outer, last = keys.text.split(".")
        holder = stored
        for name in outer:
            holder = holder.setdefault(name, {})
        holder[last] = document.text
    return {**stored, keys.id: document.id} if keys.id else stored


def from_payload(stored_id: Id, payload: Mapping[str, Any], keys: Keys) -> Document:
    """Read a payload made by `to_payload`, or one that another program wrote.

    Args:
        stored_id: The store's id, used for a point that another program wrote.
        payload: The payload.
        keys: The fields with the parts of the document.

    Raises:
        StoreError: It has no text.
    """
    id_ = own_id(stored_id, payload, keys)
    text, rest = _without(payload, keys.text) if keys.text else (None, dict(payload))
    if keys.id and rest.get(keys.id) == id_:
        del rest[keys.id]
    if keys.node:
        inner, rest = nodes.read_json(rest.get(keys.node))
        text = text or inner
    if keys.tenant:
        rest.pop(keys.tenant, None)
    if not isinstance(text, str):
        raise StoreError(
            f"The point {stored_id!r} has no text in its payload field {keys.text or keys.node!r}; "
            f"its fields are {', '.join(map(repr, payload)) or 'none'}. Where the store takes one, "
            "name the field that has it, `text_key=NAME`, or the framework that wrote it, "
            "`layout=NAME`."
        )
    if keys.payload:
        rest = rest.get(keys.payload) or {}
    return Document(id_, text, rest)


def own_id(stored_id: Id, payload: Mapping[str, Any], keys: Keys) -> Id:
    """Return a document's id: the one in its payload, or else the store's."""
    found = payload.get(keys.id) if keys.id else None
    if isinstance(found, (str, int)) and not isinstance(found, bool):
        return found
    return stored_id


def point_id(id_: Id, tenant: str | None = None) -> str | int:
    """Map an id to one that is accepted by stores whose ids are UUIDs or integers.

    Integers and UUIDs in their usual format are unchanged, so that ids of points written by other
    programs work; any other string is mapped to a UUID that depends on the string only.

    Args:
        id_: The document's id.
        tenant: The document's tenant. With one, every id is mapped to a UUID that depends on both,
            because two tenants may have documents with the same id.

    Raises:
        InputTypeError: The id is neither a string nor an integer.
        InputError: The id is an empty string, or an integer outside 0 to 2^64 - 1.
    """
    if isinstance(id_, bool) or not isinstance(id_, (str, int)):
        raise InputTypeError(
            f"A document's id must be a str or int, got {id_!r} ({type(id_).__name__})."
        )
    if isinstance(id_, int):
        if not 0 <= id_ <= _LARGEST:
            raise InputError(
                f"A document's id must be from 0 to 2^64 - 1, got {id_}. Give it as a string."
            )
    elif not check_text(id_, "id"):
        raise InputError("A document's id must not be empty.")
    if tenant is not None:
        kind = "int" if isinstance(id_, int) else "str"
        return str(uuid5(uuid5(_TENANTS, tenant), f"{kind} {id_}"))
    if isinstance(id_, int) or _is_uuid(id_):
        return id_
    return str(uuid5(_NAMESPACE, id_))


def check_ids(ids: Iterable[Id]) -> list[Id]:
    """Convert ids to a list, and check each."""
    if isinstance(ids, (str, bytes, Mapping)) or not isinstance(ids, Iterable):
        raise InputTypeError(
            f"`ids` must be a list of ids, got {type(ids).__name__}."
            + (" Put it in a list: `[id]`." if isinstance(ids, str) else "")
        )
    items = list(ids)
    for id_ in items:
        point_id(id_)
    return items


def check_documents(documents: Iterable[Document], keys: Keys) -> list[Document]:
    """Convert documents to a list, and check that each can be embedded and stored.

    Args:
        documents: Any iterable of documents.
        keys: The reserved payload fields.

    Raises:
        InputTypeError: An item is not a `Document`, or an attribute of one has the wrong type.
        InputError: An id is invalid, two ids are of one point, a text has a lone surrogate, or a
            payload is nested too deep or uses a reserved field.
    """
    if isinstance(documents, (Document, str, bytes, Mapping)) or not isinstance(
        documents, Iterable
    ):
        raise InputTypeError(
            f"`documents` must be a list of Document, got {type(documents).__name__}."
        )
    items = list(documents)
    ids: dict[Id, Id] = {}
    for index, document in enumerate(items):
        if not isinstance(document, Document):
            raise InputTypeError(
                f"`documents[{index}]` must be a Document, got {type(document).__name__}. Write "
                "`Document(id, text, payload)`."
            )
        other = ids.setdefault(point_id(document.id), document.id)
        if other != document.id:
            raise InputError(
                f"`documents[{index}].id` is {document.id!r}, and an earlier document has the id "
                f"{other!r}: one is the UUID that stores use for the other. Change one of them."
            )
        check_text(document.text, f"documents[{index}].text")
        if not isinstance(document.payload, Mapping):
            raise InputTypeError(
                f"`documents[{index}].payload` must be a mapping, got "
                f"{type(document.payload).__name__}."
            )
        _plain(document.payload, f"documents[{index}].payload")
        stored = {keys.payload: document.payload} if keys.payload else document.payload
        clash = sorted(keys.reserved.intersection(document.payload)) or _clash(stored, keys.text)
        if clash:
            raise InputError(
                f"`documents[{index}].payload` has the field {clash[0]!r}, which the collection "
                "keeps for itself. Rename it."
            )
    return items


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Copy a payload's value as plain JSON types; raise an error that locates any other type.

    Stores differ in which other types they accept, and some fail in the middle of a batch. Some
    write a value that is nested too deep, and then cannot read it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(value, where)
    if isinstance(value, int) and -(2**63) <= value <= _LARGEST:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputTypeError(f"`{where}` must have strings for keys, got {key!r}.")
        inner = _deeper(depth, where)
        return {check_text(k, where): _plain(v, f"{where}[{k!r}]", inner) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        inner = _deeper(depth, where)
        return [_plain(item, f"{where}[{index}]", inner) for index, item in enumerate(value)]
    if isinstance(value, (int, float)):
        raise InputError(f"`{where}` is {value!r}, a number that JSON and stores do not have.")
    raise InputTypeError(
        f"`{where}` is a {type(value).__name__}, which JSON does not have. Convert it first: dates "
        "with `.isoformat()`, arrays with `.tolist()`, anything else with `str()`."
    )


def _deeper(depth: int, where: str) -> int:
    if depth == _DEEPEST:
        raise InputError(
            f"`{where}` is nested more than {_DEEPEST} levels deep, or contains itself. Flatten "
            "it, or store it as a string: `json.dumps(value)`."
        )
    return depth + 1


def _clash(payload: Mapping[str, Any], key: str) -> list[str]:
    """Return the payload's field on the way to a nested text, if the text has no place in it."""
    name, _, inner = key.partition(".")
    if not inner or name not in payload:
        return []
    found = payload[name]
    if not isinstance(found, Mapping) or inner in found:
        return [name]
    return _clash(found, inner)


def _without(fields: Mapping[str, Any], key: str) -> tuple[Any, dict[str, Any]]:
    """Return the value that a key with dots leads to, and the fields without it."""
    name, _, inner = key.partition(".")
    rest = dict(fields)
    if inner and isinstance(rest.get(name), Mapping):
        value, rest[name] = _without(rest[name], inner)
        return value, rest
    return rest.pop(key, None), rest


def _is_uuid(text: str) -> bool:
    if len(text) != _UUID_LENGTH:  # most ids, and this is faster than an exception
        return False
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
