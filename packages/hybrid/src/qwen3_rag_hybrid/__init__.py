"""Hybrid search with Qwen3 models: dense and lexical legs in your store, fused and reranked here.

Importing this loads no store's client: `QdrantEdgeStore` and `QdrantStore` do when they are first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen3_rag_hybrid.documents import Document, Point
from qwen3_rag_hybrid.legs import Legs
from qwen3_rag_hybrid.searcher import HybridSearcher
from qwen3_rag_hybrid.settings import CollectionSettings, Finding
from qwen3_rag_hybrid.version import VERSION

if TYPE_CHECKING:
    from qwen3_rag_hybrid.edge import QdrantEdgeStore
    from qwen3_rag_hybrid.qdrant import QdrantStore

__version__ = VERSION

__all__ = [
    "CollectionSettings",
    "Document",
    "Finding",
    "HybridSearcher",
    "Legs",
    "Point",
    "QdrantEdgeStore",
    "QdrantStore",
]

_LEAVES = {"QdrantEdgeStore": "edge", "QdrantStore": "qdrant"}


def __getattr__(name: str) -> Any:
    if name not in _LEAVES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LEAVES[name]}"), name)
