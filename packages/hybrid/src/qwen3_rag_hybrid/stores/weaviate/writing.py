"""Writes documents to a Weaviate collection in batches, and names those that it refuses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from weaviate.classes.data import DataObject
from weaviate.exceptions import WeaviateInsertManyAllFailedError

from qwen3_rag.errors import StoreError
from qwen3_rag.integration import FloatArray
from qwen3_rag_hybrid.documents import Point
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import SHORT, shortened
from qwen3_rag_hybrid.stores.weaviate.layouts import Layout

__all__ = ["write"]

_BATCH = 256
_MOST_BYTES = 8 * 2**20  # of one request; a server may be set to take 10 MB
_MARKED = 32  # numbers of a vector, the fewest that a model gives
_NAMED = 3  # documents and reasons to name in an error


def write(
    name: str,
    collection: Any,
    layout: Layout,
    points: Sequence[Point],
    record: CollectionRecord | None,
) -> None:
    """Write points, replacing those with the same ids.

    Args:
        name: The collection's name for error messages.
        collection: The client's collection.
        layout: Where it has what.
        points: The points, with dense vectors.
        record: The collection's record. Its fields become properties.

    Raises:
        StoreError: The server refused some documents, which are named. The batches before have been
            written, and so have the other documents of the batch.
    """
    batch: list[DataObject[Any, Any]] = []
    size = 0
    mark = np.frombuffer(os.urandom(_MARKED), dtype=np.uint8) & 1
    for point in points:
        assert point.dense is not None
        vectors = layout.to_vector(_marked(point.dense, mark).tolist())
        if record is not None and record.short_dim is not None:
            short = shortened(point.dense, record.short_dim)
            vectors[SHORT] = _marked(short, mark).tolist()
        made = DataObject(
            uuid=layout.object_id(point.document.id),
            properties=layout.to_properties(point.document, record.fields if record else {}),
            vector=vectors,
        )
        more = 4 * len(point.dense) + _bytes(made.properties)
        if batch and (len(batch) == _BATCH or size + more > _MOST_BYTES):
            _insert(name, collection, layout, batch)
            batch, size = [], 0
        batch.append(made)
        size += more
    if batch:
        _insert(name, collection, layout, batch)


def _marked(vector: FloatArray, mark: Any) -> FloatArray:
    """Set the last bits of a vector's first numbers, so that it differs from any other write's.

    A server that is killed may keep an object and lose what its indexes had of it. Written again
    with the same vector, the object would stay out of them: the server leaves its indexes alone
    where the vector is equal.
    """
    bits = vector.astype(np.float32).view(np.uint32)
    bits[:_MARKED] = bits[:_MARKED] & ~np.uint32(1) | mark[: len(bits)]
    return bits.view(np.float32)


def _bytes(properties: Mapping[str, Any]) -> int:
    return sum(
        len(value.encode()) if isinstance(value, str) else 16 * len(str(value))
        for value in properties.values()
    )


def _insert(name: str, collection: Any, layout: Layout, batch: Sequence[Any]) -> None:
    try:
        errors = collection.data.insert_many(batch).errors
    except WeaviateInsertManyAllFailedError as error:
        raise StoreError(
            f"{name} took none of {len(batch)} documents, {_names(layout, batch)}: {error.message}"
        ) from error
    if errors:
        refused = [batch[index] for index in sorted(errors)]
        reasons = [*dict.fromkeys(errors[index].message for index in sorted(errors))]
        raise StoreError(
            f"{name} did not take {len(errors)} of {len(batch)} documents, "
            f"{_names(layout, refused)}: {'; '.join(reasons[:_NAMED])}"
        )


def _names(layout: Layout, batch: Sequence[Any]) -> str:
    names = [repr(layout.own_id(one.uuid, one.properties)) for one in batch[:_NAMED]]
    return ", ".join(names) + (" and others" if len(batch) > _NAMED else "")
