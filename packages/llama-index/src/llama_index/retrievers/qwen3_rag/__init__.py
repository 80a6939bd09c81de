"""Hybrid retrieval for LlamaIndex: over any of the core's searchers, or in QdrantVectorStore."""

from llama_index.retrievers.qwen3_rag.base import LEGS, Qwen3HybridRetriever, with_legs
from llama_index.retrievers.qwen3_rag.qdrant import QdrantBM25

__all__ = ["LEGS", "QdrantBM25", "Qwen3HybridRetriever", "with_legs"]
