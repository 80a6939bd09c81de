"""Hybrid retrieval for Haystack.

Importing this package does not load a store's client, transformers or a model.
"""

from haystack_integrations.components.retrievers.qwen3_rag.hybrid_retriever import (
    Qwen3HybridRetriever,
)

__all__ = ["Qwen3HybridRetriever"]
