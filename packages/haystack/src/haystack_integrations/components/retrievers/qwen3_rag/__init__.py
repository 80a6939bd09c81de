"""Hybrid retrieval for Haystack.

Importing this loads no store's client, and neither transformers nor a model.
"""

from haystack_integrations.components.retrievers.qwen3_rag.hybrid_retriever import (
    Qwen3HybridRetriever,
)

__all__ = ["Qwen3HybridRetriever"]
