"""Requests that give the points of a Qdrant collection new terms and change nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from qwen3_rag.errors import StoreError
from qwen3_rag.search import BM25
from qwen3_rag_hybrid.documents import Point
from qwen3_rag_hybrid.stores.qdrant.layouts import Layout
from qwen3_rag_hybrid.stores.qdrant.points import to_sparse

__all__ = ["ONLY_VECTOR", "add_sparse", "renewals"]

#: Why some collections of Haystack cannot get terms, and what to do.
ONLY_VECTOR = (
    "Haystack takes all vectors of a point in this collection for its embedding, so terms cannot "
    "be added. Make a collection with `QdrantDocumentStore(use_sparse_embeddings=True)`, or with "
    "`create()` under another name, and add the documents there."
)


def add_sparse(collection: str, client: QdrantClient) -> Any:
    """Add the sparse vector for terms to a collection, which takes a server from 1.18.

    Raises:
        StoreError: The client is too old.
    """
    if not hasattr(client, "create_vector_name"):
        raise StoreError(
            f"The collection {collection!r} has no sparse vector, and this qdrant-client cannot "
            "add one. Update it to 1.18, and the server too."
        )
    config = models.SparseVectorConfig(modifier=models.Modifier.IDF)
    named = models.SparseVectorNameConfig(sparse=config)
    return client.create_vector_name(collection, BM25, named, wait=True)


def renewals(
    collection: str, points: Sequence[Point], layout: Layout, sparse: str
) -> Iterator[Callable[[QdrantClient], Any]]:
    """Yield the requests that replace the sparse vectors of points.

    Args:
        collection: The collection's name.
        points: The points, with their new sparse vectors.
        layout: Where the collection has what.
        sparse: The sparse vector's name.
    """
    terms = [
        models.PointVectors(
            id=layout.place(point.document.id), vector={sparse: to_sparse(point.sparse)}
        )
        for point in points
        if point.sparse is not None and len(point.sparse)
    ]
    if terms:
        yield lambda client: client.update_vectors(collection, terms, wait=True)
    places: list[Any] = [layout.place(point.document.id) for point in points]
    written = {one.id for one in terms}
    without = models.PointIdsList(points=[one for one in places if one not in written])
    if without.points:
        yield lambda client: client.delete_vectors(collection, [sparse], without, wait=True)
