"""Qwen3-Embedding for LlamaIndex.

Importing this package loads neither torch nor transformers; the first use of a model does.
"""

from llama_index.embeddings.qwen3_rag.base import Qwen3Embedding
from llama_index.embeddings.qwen3_rag.cache import SeparateCache

__all__ = ["Qwen3Embedding", "SeparateCache"]
