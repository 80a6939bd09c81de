"""Hybrid retrieval for LlamaIndex: over any of the core's searchers, or in QdrantVectorStore."""

from llama_index.embeddings.qwen3_rag.nodes import RankedNode
from llama_index.retrievers.qwen3_rag.base import Qwen3HybridRetriever
from llama_index.retrievers.qwen3_rag.qdrant import QdrantBM25

__all__ = ["QdrantBM25", "Qwen3HybridRetriever", "RankedNode"]
