"""The two retrievers of Qdrant's document store; the only module that imports qdrant-haystack."""

from __future__ import annotations

from haystack_integrations.components.retrievers.qdrant import (
    QdrantEmbeddingRetriever,
    QdrantSparseEmbeddingRetriever,
)
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from qwen3_rag import InputError

__all__ = ["qdrant_retrievers"]


def qdrant_retrievers(
    store: QdrantDocumentStore,
) -> tuple[QdrantEmbeddingRetriever, QdrantSparseEmbeddingRetriever]:
    """Make the two retrievers of a store.

    Raises:
        InputError: The store has no sparse vectors, does not apply the IDF, or uses a distance as
            its metric.
    """
    if not (store.use_sparse_embeddings and store.sparse_idf):
        raise InputError(
            "The QdrantDocumentStore has use_sparse_embeddings="
            f"{store.use_sparse_embeddings} and sparse_idf={store.sparse_idf}, and BM25 needs "
            "both: terms are kept in sparse vectors, and the store counts how rare they are. "
            "Make it with `use_sparse_embeddings=True, sparse_idf=True`."
        )
    if store.similarity == "l2":
        raise InputError(
            "The QdrantDocumentStore has similarity='l2', where less is better, and fusion takes "
            "scores where more is. Make it with similarity='cosine'."
        )
    return QdrantEmbeddingRetriever(store), QdrantSparseEmbeddingRetriever(store)
