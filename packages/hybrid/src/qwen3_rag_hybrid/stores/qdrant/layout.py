"""Storage format of a collection in a folder: the record's file, and the engine's points."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as engine

from qwen3_rag.lexical import SparseVector
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Keys, Point, from_payload, point_id, to_payload
from qwen3_rag_hybrid.stores.qdrant.tenants import payload_of
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import SHORT, shortened

__all__ = [
    "KEYS",
    "configuration",
    "read_hits",
    "read_point",
    "read_record",
    "sparse_name",
    "to_point",
    "to_sparse",
    "write_record",
]

KEYS = Keys()

_RECORD = "settings.json"
_NO_GRAPH = engine.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)


def read_record(folder: Path) -> CollectionRecord:
    """Read the record of a collection's folder.

    Raises:
        OSError: It does not exist.
        ValueError: It is damaged, or has a later format.
    """
    values = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{_RECORD} holds no record")
    return CollectionRecord.from_dict(values)


def write_record(folder: Path, record: CollectionRecord) -> None:
    """Write the record atomically: a reader finds the old one or the new one."""
    text = json.dumps(record.as_dict(), indent=2, ensure_ascii=False)
    new = folder / f"{_RECORD}.new"
    with new.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / _RECORD)


def sparse_name(record: CollectionRecord) -> str:
    """Return the name of a collection's sparse vector."""
    return "lexical" if record.format == 1 else BM25


def configuration(record: CollectionRecord) -> engine.EdgeConfig:
    """Make the engine's configuration of a collection's vectors."""
    cosine = engine.Distance.Cosine
    vectors = {DENSE: engine.EdgeVectorParams(size=record.dim, distance=cosine)}
    if record.short_dim is not None:
        # Only candidates are scored by whole vectors, so these need neither memory nor a graph.
        vectors = {
            SHORT: engine.EdgeVectorParams(size=record.short_dim, distance=cosine),
            DENSE: engine.EdgeVectorParams(
                size=record.dim, distance=cosine, on_disk=True, hnsw_config=_NO_GRAPH
            ),
        }
    return engine.EdgeConfig(
        vectors=vectors,
        sparse_vectors={
            sparse_name(record): engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)
        },
    )


def to_point(point: Point, record: CollectionRecord, tenant: str | None) -> engine.Point:
    """Make the engine's point.

    Args:
        point: The point, with its dense vector.
        record: The collection's record.
        tenant: The document's tenant.
    """
    assert point.dense is not None
    sparse = sparse_name(record)
    vectors: dict[str, Any] = {DENSE: point.dense.tolist()}
    if record.short_dim is not None:
        vectors[SHORT] = shortened(point.dense, record.short_dim).tolist()
    if point.sparse is not None and len(point.sparse):
        vectors[sparse] = to_sparse(point.sparse)
    document = point.document
    payload = {**to_payload(document, KEYS), **payload_of(tenant)}
    return engine.Point(point_id(document.id, tenant), vectors, payload)


def to_sparse(vector: SparseVector) -> engine.SparseVector:
    """Make the engine's sparse vector."""
    return engine.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def read_hits(found: Iterable[engine.ScoredPoint]) -> list[tuple[Id, float]]:
    """Return the documents' own ids and the scores of a search result."""
    key = KEYS.id
    # The engine makes the payload anew whenever it is asked for it.
    return [
        (
            payload[key] if (payload := hit.payload) and key in payload else _stored_id(hit),
            hit.score,
        )
        for hit in found
    ]


def read_point(record: engine.Record, sparse: str, keys: Keys) -> Point:
    """Read the engine's point.

    Args:
        record: The engine's point.
        sparse: Name of the sparse vector.
        keys: The payload fields that are no part of the document's payload.
    """
    vectors: Any = record.vector or {}
    dense, terms = vectors.get(DENSE), vectors.get(sparse)
    return Point(
        from_payload(_stored_id(record), record.payload or {}, keys),
        None if dense is None else np.asarray(dense, dtype=np.float32),
        None
        if terms is None
        else SparseVector(
            np.asarray(terms.indices, dtype=np.uint32),
            np.asarray(terms.values, dtype=np.float32),
        ),
    )


def _stored_id(record: engine.ScoredPoint | engine.Record) -> Id:
    found = record.id
    return found if isinstance(found, int) else str(found)
