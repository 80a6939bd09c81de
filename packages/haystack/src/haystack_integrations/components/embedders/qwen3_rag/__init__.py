"""Qwen3-Embedding and BM25 for Haystack.

Importing this package loads neither transformers nor a model.
"""

from haystack_integrations.components.embedders.qwen3_rag.bm25_embedders import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
)
from haystack_integrations.components.embedders.qwen3_rag.document_embedder import (
    Qwen3DocumentEmbedder,
)
from haystack_integrations.components.embedders.qwen3_rag.text_embedder import Qwen3TextEmbedder

__all__ = [
    "BM25SparseDocumentEmbedder",
    "BM25SparseTextEmbedder",
    "Qwen3DocumentEmbedder",
    "Qwen3TextEmbedder",
]
