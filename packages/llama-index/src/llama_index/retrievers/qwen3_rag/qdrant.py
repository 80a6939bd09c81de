"""`QdrantBM25`: words and fusion for LlamaIndex's `QdrantVectorStore`, without any download.

Knows that store's hooks; terms and fusion are the core's. Its sparse side alone would fetch a
SPLADE model, and fuses without saying where a node came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQueryResult

from llama_index.retrievers.qwen3_rag.base import with_legs
from qwen3_rag import InputError, MissingExtraError
from qwen3_rag.fusion import FusionMethod, fuse
from qwen3_rag.lexical import BM25Encoder, SparseVector

__all__ = ["QdrantBM25"]

DENSE = "dense"
LEXICAL = "lexical"

SparseVectors = tuple[list[list[int]], list[list[float]]]


@dataclass(frozen=True, kw_only=True)
class QdrantBM25:
    """The functions that make a `QdrantVectorStore` search by meaning and by words.

    Example:
        ```python
        store = QdrantVectorStore("docs", client=client, **QdrantBM25().arguments())
        index = VectorStoreIndex.from_documents(
            documents, storage_context=StorageContext.from_defaults(vector_store=store)
        )
        engine = index.as_query_engine(
            vector_store_query_mode="hybrid",
            similarity_top_k=50,
            sparse_top_k=50,
            hybrid_top_k=10,
        )
        ```

    Attributes:
        encoder: Weighs words; a collection is searched with the settings it was filled with.
        fusion: `"rrf"` or `"relative_score"`.
        k: How flat RRF's reward is over the ranks.

    Raises:
        InputError: An unknown fusion, or a `k` below zero.
    """

    encoder: BM25Encoder = field(default_factory=BM25Encoder)
    fusion: FusionMethod = "rrf"
    k: float = 60

    def __post_init__(self) -> None:
        fuse({}, self.fusion, k=self.k)

    def arguments(self) -> dict[str, Any]:
        """Give the arguments of `QdrantVectorStore` for hybrid search.

        Among them is the one that is forgotten most easily: without `Modifier.IDF` on the sparse
        vector a rare word counts no more than a common one. The store sets it on a collection that
        it makes itself, not on one that is there.

        Raises:
            MissingExtraError: qdrant-client is not installed.
        """
        try:
            from qdrant_client import models
        except ImportError as error:
            raise MissingExtraError(
                "`QdrantBM25.arguments` needs the package 'qdrant-client'. Install it with: "
                "pip install llama-index-vector-stores-qdrant"
            ) from error
        return {
            "enable_hybrid": True,
            "sparse_config": models.SparseVectorParams(modifier=models.Modifier.IDF),
            "sparse_doc_fn": self.sparse_doc_fn,
            "sparse_query_fn": self.sparse_query_fn,
            "hybrid_fusion_fn": self.hybrid_fusion_fn,
        }

    def sparse_doc_fn(self, texts: list[str]) -> SparseVectors:
        """Weigh the words of documents: indices and values of each text."""
        return _lists(self.encoder.encode_document(text) for text in texts)

    def sparse_query_fn(self, texts: list[str]) -> SparseVectors:
        """Mark the words of queries: indices and values of each text."""
        return _lists(self.encoder.encode_query(text) for text in texts)

    def hybrid_fusion_fn(
        self,
        dense_result: VectorStoreQueryResult,
        sparse_result: VectorStoreQueryResult,
        alpha: float = 0.5,
        top_k: int = 2,
    ) -> VectorStoreQueryResult:
        """Fuse what both legs found; nodes have their places in `metadata["search_ranks"]`.

        Args:
            dense_result: Found by meaning. Not changed.
            sparse_result: Found by words. Not changed.
            alpha: Weight of meaning, 0 to 1; words have the rest.
            top_k: How many nodes to return.

        Raises:
            InputError: `alpha` is not between 0 and 1.
        """
        if not 0 <= alpha <= 1:
            raise InputError(f"`alpha` must be from 0, words alone, to 1, meaning, got {alpha!r}.")
        nodes: dict[str | int, BaseNode] = {}
        legs: dict[str, list[tuple[str | int, float]]] = {}
        for name, result in ((DENSE, dense_result), (LEXICAL, sparse_result)):
            found = list(zip(result.nodes or [], result.similarities or [], strict=True))
            legs[name] = [(node.node_id, score) for node, score in found]
            for node, _ in found:
                nodes.setdefault(node.node_id, node)
        weights = {DENSE: 2 * alpha, LEXICAL: 2 * (1 - alpha)}
        fused = fuse(legs, self.fusion, k=self.k, weights=weights)[:top_k]
        return VectorStoreQueryResult(
            nodes=[with_legs(nodes[hit.id], hit.legs) for hit in fused],
            similarities=[hit.score for hit in fused],
            ids=[str(hit.id) for hit in fused],
        )


def _lists(vectors: Iterable[SparseVector]) -> SparseVectors:
    pairs = [(vector.indices.tolist(), vector.values.tolist()) for vector in vectors]
    return [indices for indices, _ in pairs], [values for _, values in pairs]
