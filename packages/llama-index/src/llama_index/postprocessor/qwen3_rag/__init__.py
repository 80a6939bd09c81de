"""Qwen3-Reranker for LlamaIndex.

Importing this package loads neither torch nor transformers; the first use of a model does.
"""

from llama_index.embeddings.qwen3_rag.nodes import RankedNode
from llama_index.postprocessor.qwen3_rag.base import Qwen3Rerank

__all__ = ["Qwen3Rerank", "RankedNode"]
