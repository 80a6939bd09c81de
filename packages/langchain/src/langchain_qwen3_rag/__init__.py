"""Qwen3-Embedding and Qwen3-Reranker for LangChain.

Importing this loads no torch and no store; `BM25SparseEmbeddings` loads langchain-qdrant when it
is first named.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from langchain_qwen3_rag.embeddings import Qwen3Embeddings
from langchain_qwen3_rag.rerank import Qwen3Rerank
from langchain_qwen3_rag.retrievers import Qwen3HybridRetriever, Qwen3RerankRetriever

if TYPE_CHECKING:
    from langchain_qwen3_rag.qdrant import BM25SparseEmbeddings

__version__ = version("langchain-qwen3-rag")

__all__ = [
    "BM25SparseEmbeddings",
    "Qwen3Embeddings",
    "Qwen3HybridRetriever",
    "Qwen3Rerank",
    "Qwen3RerankRetriever",
]


def __getattr__(name: str) -> Any:
    if name != "BM25SparseEmbeddings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.qdrant").BM25SparseEmbeddings
