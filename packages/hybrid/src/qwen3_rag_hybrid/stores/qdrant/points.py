"""Points and sparse vectors as qdrant-client has them, and requests of a size that servers take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from qdrant_client import models

from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.documents import Id, Keys, Point, from_payload, point_id, to_payload

__all__ = ["batches", "own_id", "read_point", "to_point", "to_sparse"]

_MOST_POINTS = 256
# A server takes 32 MB per request. It is much less here, because an async client encodes a request
# on the event loop, at about 100 MB per second.
_MOST_BYTES = 2 * 2**20
_NUMBER_BYTES = 21  # of a 32-bit number in JSON
_TERM_BYTES = 2 * _NUMBER_BYTES

# gRPC has signed integers in payloads; REST has all that an id can be.
_MOST_SIGNED = 2**63 - 1


def to_point(point: Point, dense: str, sparse: str, keys: Keys) -> models.PointStruct:
    """Make the client's point.

    Args:
        point: The point, with a dense vector.
        dense: Name of the dense vector, `""` for the unnamed one.
        sparse: Name of the sparse vector.
        keys: Payload fields with text and id.
    """
    assert point.dense is not None
    vectors: dict[str, Any] = {dense: point.dense.tolist()}
    if point.sparse is not None and len(point.sparse):
        vectors[sparse] = to_sparse(point.sparse)
    id_ = point.document.id
    payload = to_payload(point.document, keys)
    if isinstance(id_, int) and id_ > _MOST_SIGNED:
        del payload[keys.id]  # it is the point's own id
    return models.PointStruct(id=point_id(id_), vector=vectors, payload=payload)


def to_sparse(vector: SparseVector) -> models.SparseVector:
    """Make the client's sparse vector."""
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def own_id(hit: models.ScoredPoint, keys: Keys) -> Id:
    """Return the document's own id from a search result."""
    own: Id = (hit.payload or {}).get(keys.id, hit.id)
    return own


def read_point(record: models.Record, dense: str, sparse: str, keys: Keys) -> Point:
    """Read the client's point; see `to_point`."""
    vectors: Any = record.vector
    if not isinstance(vectors, dict):
        vectors = {} if vectors is None else {"": vectors}
    numbers, terms = vectors.get(dense), vectors.get(sparse)
    return Point(
        from_payload(record.id, record.payload or {}, keys),  # type: ignore[arg-type]
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
    dense = 0 if point.dense is None else len(point.dense)
    terms = 0 if point.sparse is None else len(point.sparse)
    text = len(point.document.text.encode())
    payload = len(json.dumps(dict(point.document.payload)))
    return _NUMBER_BYTES * dense + _TERM_BYTES * terms + text + payload
