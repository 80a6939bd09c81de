"""Qwen3-Embedding and Qwen3-Reranker for LangChain.

Importing this package loads neither torch nor a store's client; `BM25SparseEmbeddings` loads
langchain-qdrant when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from langchain_qwen3_rag.documents import ScoredDocument
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
    "ScoredDocument",
]

# `LexicalSparseEmbeddings` is a former name, needed to read old files.
_QDRANT = {"BM25SparseEmbeddings", "LexicalSparseEmbeddings"}


def __getattr__(name: str) -> Any:
    if name not in _QDRANT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.qdrant"), name)
