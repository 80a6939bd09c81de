"""Qwen3-Reranker for LlamaIndex.

Importing this loads neither torch nor transformers; the first use of a model does.
"""

from llama_index.postprocessor.qwen3_rag.base import RETRIEVAL_SCORE, Qwen3Rerank

__all__ = ["RETRIEVAL_SCORE", "Qwen3Rerank"]
