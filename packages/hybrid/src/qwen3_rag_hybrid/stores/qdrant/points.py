"""Points and sparse vectors as qdrant-client has them, and requests of a size that servers take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from qdrant_client import models

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Document, Id, Point, from_payload, own_id, to_payload
from qwen3_rag_hybrid.stores.qdrant.layouts import Layout, VectorNames
from qwen3_rag_hybrid.stores.qdrant.tenants import payload_of
from qwen3_rag_hybrid.stores.short import SHORT, shortened

__all__ = ["batches", "check_numbers", "read_id", "read_point", "to_point", "to_sparse"]

_MOST_POINTS = 256
# A server takes 32 MB per request. It is much less here, because an async client encodes a request
# on the event loop, at about 100 MB per second.
_MOST_BYTES = 2 * 2**20
_NUMBER_BYTES = 21  # of a 32-bit number in JSON

# gRPC has signed integers in payloads; REST has all that an id can be.
_MOST_SIGNED = 2**63 - 1


def to_point(point: Point, layout: Layout, names: VectorNames) -> models.PointStruct:
    """Make the client's point.

    Args:
        point: The point, with a dense vector.
        layout: Where the collection has what.
        names: The names of its vectors.
    """
    assert point.dense is not None
    vectors: dict[str, Any] = {names.dense: point.dense.tolist()}
    if names.short_dim is not None:
        vectors[SHORT] = shortened(point.dense, names.short_dim).tolist()
    if names.sparse is not None and point.sparse is not None and len(point.sparse):
        vectors[names.sparse] = to_sparse(point.sparse)
    id_ = point.document.id
    payload = {**to_payload(point.document, layout.keys), **payload_of(layout.tenant)}
    if isinstance(id_, int) and id_ > _MOST_SIGNED:
        if layout.tenant is None:
            del payload[layout.keys.id]  # it is the point's own id
        else:
            payload[layout.keys.id] = str(id_)  # read by `_own_id`
    return models.PointStruct(id=layout.place(id_), vector=vectors, payload=payload)


def to_sparse(vector: SparseVector) -> models.SparseVector:
    """Make the client's sparse vector."""
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def check_numbers(documents: Sequence[Document]) -> None:
    """Reject integers that gRPC cannot send.

    Raises:
        InputError: A payload has one.
    """
    for document in documents:
        large = _large(document.payload)
        if large is not None:
            raise InputError(
                f"The payload of the document {document.id!r} has the number {large}. Over gRPC, "
                "an integer there is at most 2^63 - 1: store it as a string, or use REST "
                "(`prefer_grpc=False`)."
            )


def _large(value: Any) -> int | None:
    """Return an integer in a payload's value that is above 2^63 - 1, if there is one."""
    if isinstance(value, int):
        return value if value > _MOST_SIGNED else None
    inner = value.values() if isinstance(value, Mapping) else value
    if not isinstance(inner, Iterable) or isinstance(inner, str):
        return None
    return next((one for one in map(_large, inner) if one is not None), None)


def read_id(hit: models.ScoredPoint, layout: Layout) -> Id:
    """Return the document's own id from a search result."""
    found = own_id(hit.id, hit.payload or {}, layout.keys)  # type: ignore[arg-type]
    return _own_id(found, hit.id, layout)


def _own_id(found: Id, stored: Any, layout: Layout) -> Id:
    """Read an integer that is kept as its digits, which the point's id tells from a string."""
    is_digits = isinstance(found, str) and found.isdecimal() and len(found) <= len(str(2**64))
    if layout.tenant is None or not is_digits:
        return found
    number = int(found)
    return number if _MOST_SIGNED < number < 2**64 and layout.place(number) == stored else found


def read_point(record: models.Record, layout: Layout, names: VectorNames) -> Point:
    """Read the client's point; see `to_point`."""
    vectors: Any = record.vector
    if not isinstance(vectors, dict):
        vectors = {} if vectors is None else {"": vectors}
    numbers, terms = vectors.get(names.dense), vectors.get(names.sparse)
    document = from_payload(record.id, record.payload or {}, layout.keys)  # type: ignore[arg-type]
    return Point(
        replace(document, id=_own_id(document.id, record.id, layout)),
        None if numbers is None else np.asarray(numbers, dtype=np.float32),
        None
        if terms is None
        else SparseVector(
            np.asarray(terms.indices, dtype=np.uint32),
            np.asarray(terms.values, dtype=np.float32),
        ),
    )


def batches(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Divide points into requests of up to 256 points or about 2 MB."""
    batch: list[Point] = []
    size = 0
    for point in points:
        more = _bytes(point)
        if batch and (len(batch) == _MOST_POINTS or size + more > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += more
    if batch:
        yield batch


def _bytes(point: Point) -> int:
    numbers = 0 if point.dense is None else len(point.dense)
    numbers += 0 if point.sparse is None else 2 * len(point.sparse)
    document = point.document
    payload = json.dumps(dict(document.payload), ensure_ascii=False, default=dict)
    return _NUMBER_BYTES * numbers + len(document.text.encode()) + len(payload.encode())
