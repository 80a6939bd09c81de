"""Hybrid retrieval for Haystack.

Importing this package loads no store's client, no transformers and no model.
"""

from haystack_integrations.components.retrievers.qwen3_rag.hybrid_retriever import (
    Qwen3HybridRetriever,
)

__all__ = ["Qwen3HybridRetriever"]
