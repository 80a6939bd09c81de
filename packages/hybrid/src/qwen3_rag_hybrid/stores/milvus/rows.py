"""The rows of a Milvus collection: the names of their fields, and documents as rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from qwen3_rag.errors import InputError, StoreError
from qwen3_rag.lexical import BM25Encoder, tokens
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point, point_id, to_payload
from qwen3_rag_hybrid.stores.short import SHORT, shortened

__all__ = [
    "LONGEST",
    "Names",
    "check_size",
    "join_terms",
    "read_id",
    "read_point",
    "to_row",
    "to_scalars",
]

#: Bytes in UTF-8 that a field of the type VARCHAR holds at most.
LONGEST = 65_535
_LONGEST_JSON = 65_536

_WHOLE = re.compile(r"\w+")


@dataclass(frozen=True)
class Names:
    """The names of a collection's fields.

    Attributes:
        primary: The primary key: the UUID or number that `point_id` makes of the document's id.
        id: The document's id as JSON, which tells 7 from "7".
        text: The document's text.
        payload: The document's payload, as JSON.
        terms: The terms of the text, joined.
        dense: The dense vector.
        sparse: The sparse vector that Milvus computes of the terms.
        tenant: The document's tenant, in a collection with tenants.
    """

    primary: str
    id: str
    text: str
    payload: str
    terms: str
    dense: str
    sparse: str
    tenant: str = "tenant"

    @property
    def all(self) -> tuple[str, ...]:
        """The names in every collection."""
        scalars = (self.primary, self.id, self.text, self.payload, self.terms)
        return (*scalars, self.dense, self.sparse)

    @property
    def keys(self) -> Keys:
        """The fields with text and id."""
        return Keys(self.text, self.id)


def join_terms(terms: Iterable[str]) -> str:
    """Join terms by spaces, so that Milvus's analyzers find the same terms again.

    Milvus Lite has no analyzer that divides at spaces alone: it also divides at what is no letter,
    digit or underscore, such as the vowel signs of Hindi. A term with any of these is replaced by
    its checksum.
    """
    return " ".join(
        term if _WHOLE.fullmatch(term) else f"{crc32(term.encode()):08x}" for term in terms
    )


def to_row(point: Point, names: Names, tenant: str | None, short_dim: int | None) -> dict[str, Any]:
    """Make a point's row.

    Args:
        point: The point, with its dense vector.
        names: The names of the fields.
        tenant: The document's tenant.
        short_dim: Size of the collection's short vectors, if it has any.

    Raises:
        InputError: As in `to_scalars`.
    """
    assert point.dense is not None
    row = {**to_scalars(point.document, names, tenant), names.dense: point.dense.tolist()}
    if short_dim is not None:
        row[SHORT] = shortened(point.dense, short_dim).tolist()
    return row


def to_scalars(document: Document, names: Names, tenant: str | None) -> dict[str, Any]:
    """Make the fields of a document's row that are no vectors.

    Raises:
        InputError: Milvus cannot hold the document's id, text, terms, payload or tenant.
    """
    payload = to_payload(document, names.keys)
    del payload[names.text], payload[names.id]
    row = {
        names.primary: str(point_id(document.id, tenant)),
        names.id: json.dumps(document.id, ensure_ascii=False),
        names.text: document.text,
        names.payload: payload,
        names.terms: join_terms(tokens(document.text)),
    }
    if tenant is not None:
        row[names.tenant] = tenant
    _check(document, row, names)
    return row


def read_id(row: Mapping[str, Any], names: Names) -> Id:
    """Read the document's id from a row or a hit's fields.

    Raises:
        StoreError: Another program wrote the row.
    """
    try:
        id_: Id = json.loads(row[names.id])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The field {names.id!r} of a row holds no id of a document: "
            f"{row.get(names.id)!r}. Another program may have written it; add the documents again "
            "to a collection of their own."
        ) from error
    return id_


def read_point(row: Mapping[str, Any], names: Names, encoder: BM25Encoder | None) -> Point:
    """Read a row.

    Args:
        row: The row.
        names: The names of its fields.
        encoder: Computes the sparse vector, which Milvus does not give back, from the text; `None`
            for a point without vectors.
    """
    document = Document(read_id(row, names), row[names.text], row[names.payload] or {})
    if encoder is None:
        return Point(document)
    sparse = encoder.encode_document(document.text)
    dense = np.asarray(row[names.dense], dtype=np.float32)
    return Point(document, dense, sparse if len(sparse) else None)


def _check(document: Document, row: Mapping[str, Any], names: Names) -> None:
    payload = json.dumps(row[names.payload], ensure_ascii=False, separators=(",", ":"))
    for what, text, longest, remedy in (
        ("id is", row[names.id], LONGEST, "Choose a shorter one."),
        ("text is", row[names.text], LONGEST, "Split the document."),
        ("terms for BM25 are", row[names.terms], LONGEST, "Split the document."),
        ("payload is", payload, _LONGEST_JSON, "Keep long values elsewhere."),
        ("tenant is", row.get(names.tenant, ""), LONGEST, "Choose a shorter name."),
    ):
        check_size(document.id, what, text, longest, remedy)


def check_size(id_: Id, what: str, text: str, longest: int, remedy: str) -> None:
    """Reject a part of a document that Milvus cannot hold.

    Args:
        id_: The document's id.
        what: What it is, as in `"text is"`.
        text: The part.
        longest: Bytes that it may have.
        remedy: What to do about it.

    Raises:
        InputError: It is too long.
    """
    size = len(text.encode())
    if size > longest:
        shown = id_ if isinstance(id_, int) else id_[:100]
        raise InputError(
            f"The document {shown!r} does not fit into Milvus: its {what} {size:,} bytes long, "
            f"of at most {longest:,}. {remedy}"
        )
