"""The dense vectors of a Qdrant collection, and the search for candidates by short ones."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from qwen3_rag.errors import InputError
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import OVERSAMPLING, SHORT, shortened

__all__ = ["dense_vectors", "first_stage"]


def dense_vectors(name: str, record: CollectionRecord, *, is_foreign: bool) -> Any:
    """Make the configuration of a new collection's dense vectors.

    Args:
        name: Name of the dense vector, `""` for the unnamed one.
        record: The collection's record.
        is_foreign: Whether the collection is for a framework.

    Raises:
        InputError: The record has short vectors, and the collection cannot have them.
    """
    cosine = models.Distance.COSINE
    dense = models.VectorParams(size=record.dim, distance=cosine)
    if record.short_dim is None:
        return {name: dense} if name else dense
    if is_foreign:
        raise InputError(
            "`short_dim` adds a vector that the framework of this `layout` does not know. Leave it "
            "out, or make a collection without `layout`."
        )
    if not name:
        raise InputError(
            "`short_dim` adds a named vector, and the dense vector of this collection has no name. "
            "Leave `short_dim` out, or name the dense vector: `QdrantStore(..., dense=NAME)`."
        )
    # Only candidates are scored by whole vectors, so these need neither memory nor a graph.
    dense.on_disk, dense.hnsw_config = True, models.HnswConfigDiff(m=0)
    return {SHORT: models.VectorParams(size=record.short_dim, distance=cosine), name: dense}


def first_stage(query: Query, limit: int, filter: Any) -> models.Prefetch | None:
    """Make the search for candidates by short vectors, if the collection has them."""
    if query.short_dim is None:
        return None
    short = shortened(query.vector, query.short_dim).tolist()
    return models.Prefetch(query=short, using=SHORT, filter=filter, limit=OVERSAMPLING * limit)
