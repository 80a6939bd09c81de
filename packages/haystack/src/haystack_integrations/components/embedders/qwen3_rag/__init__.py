"""Qwen3-Embedding for Haystack, and the lexical side of hybrid search.

Importing this loads neither transformers nor a model.
"""

from haystack_integrations.components.embedders.qwen3_rag.document_embedder import (
    Qwen3DocumentEmbedder,
)
from haystack_integrations.components.embedders.qwen3_rag.lexical_embedders import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
)
from haystack_integrations.components.embedders.qwen3_rag.text_embedder import Qwen3TextEmbedder

__all__ = [
    "BM25SparseDocumentEmbedder",
    "BM25SparseTextEmbedder",
    "Qwen3DocumentEmbedder",
    "Qwen3TextEmbedder",
]
