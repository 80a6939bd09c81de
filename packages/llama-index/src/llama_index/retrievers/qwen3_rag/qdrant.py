"""`QdrantBM25`: BM25 and fusion for LlamaIndex's `QdrantVectorStore`, without any download.

By default, that store downloads a SPLADE model for its sparse vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQueryResult

from qwen3_rag import InputError, MissingExtraError
from qwen3_rag.fusion import DEFAULT_FUSION, Fused, FusionMethod, fuse
from qwen3_rag.lexical import BM25Encoder, SparseVector
from qwen3_rag.search import BM25, DENSE

__all__ = ["QdrantBM25"]

SparseVectors = tuple[list[list[int]], list[list[float]]]


@dataclass(frozen=True, kw_only=True)
class QdrantBM25:
    """The functions that a `QdrantVectorStore` needs to search by dense vectors and BM25.

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
        encoder: Makes the sparse vectors. Search a collection with the settings that it was filled
            with.
        fusion: `"relative_score"` or `"rrf"`.
        k: RRF's rank constant, for `"rrf"` only; larger values reduce the advantage of the top
            ranks.
        on_fused: Called after each hybrid query with the fused ids, each with its rank and score
            from each retriever. The store returns nodes, and ranks cannot be in their metadata,
            because equal nodes from two queries would then look different.

    Raises:
        InputError: The fusion is unknown, or `k` is below zero.
    """

    encoder: BM25Encoder = field(default_factory=BM25Encoder)
    fusion: FusionMethod = DEFAULT_FUSION
    k: float = 60
    on_fused: Callable[[list[Fused]], object] | None = None

    def __post_init__(self) -> None:
        fuse({}, self.fusion, k=self.k)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `QdrantVectorStore` for hybrid search.

        They include the one that is forgotten most easily: without `Modifier.IDF` on the sparse
        vector, a rare word counts no more than a common one. The store sets it on collections that
        it creates, but not on existing ones.

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
        """Encode documents; return the indices and values of the sparse vectors."""
        return _lists(self.encoder.encode_document(text) for text in texts)

    def sparse_query_fn(self, texts: list[str]) -> SparseVectors:
        """Encode queries; return the indices and values of the sparse vectors."""
        return _lists(self.encoder.encode_query(text) for text in texts)

    def hybrid_fusion_fn(
        self,
        dense_result: VectorStoreQueryResult,
        sparse_result: VectorStoreQueryResult,
        alpha: float = 0.5,
        top_k: int = 2,
    ) -> VectorStoreQueryResult:
        """Fuse the results of dense vectors and BM25.

        Args:
            dense_result: Results of dense vectors. Not modified.
            sparse_result: Results of BM25. Not modified.
            alpha: Weight of the dense vectors, 0 to 1; the rest is the weight of BM25.
            top_k: Number of nodes to return.

        Raises:
            InputError: `alpha` is not between 0 and 1.
        """
        if not 0 <= alpha <= 1:
            raise InputError(
                f"`alpha` must be from 0, BM25 alone, to 1, dense alone, got {alpha!r}."
            )
        nodes: dict[str | int, BaseNode] = {}
        lists: dict[str, list[tuple[str | int, float]]] = {}
        for name, result in ((DENSE, dense_result), (BM25, sparse_result)):
            found = list(zip(result.nodes or [], result.similarities or [], strict=True))
            lists[name] = [(node.node_id, score) for node, score in found]
            for node, _ in found:
                nodes.setdefault(node.node_id, node)
        weights = {DENSE: 2 * alpha, BM25: 2 * (1 - alpha)}
        fused = fuse(lists, self.fusion, k=self.k, weights=weights)[:top_k]
        if self.on_fused is not None:
            self.on_fused(fused)
        return VectorStoreQueryResult(
            nodes=[nodes[hit.id] for hit in fused],
            similarities=[hit.score for hit in fused],
            ids=[str(hit.id) for hit in fused],
        )


def _lists(vectors: Iterable[SparseVector]) -> SparseVectors:
    pairs = [(vector.indices.tolist(), vector.values.tolist()) for vector in vectors]
    return [indices for indices, _ in pairs], [values for _, values in pairs]
