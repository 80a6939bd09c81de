"""Qwen3-Reranker for Haystack.

Importing this package loads neither transformers nor a model.
"""

from haystack_integrations.components.rankers.qwen3_rag.ranker import Qwen3Ranker

__all__ = ["Qwen3Ranker"]
