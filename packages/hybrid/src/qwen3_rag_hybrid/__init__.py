"""Hybrid search with Qwen3 models: dense vectors and BM25 in your store, fused and reranked here.

Importing this package loads no store's client; the first use of a store's class does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen3_rag_hybrid.documents import Document, Point
from qwen3_rag_hybrid.errors import DamagedError, InUseError
from qwen3_rag_hybrid.opening import open_store
from qwen3_rag_hybrid.reindexing import reindex
from qwen3_rag_hybrid.renewal import renew_bm25
from qwen3_rag_hybrid.searcher import HybridSearcher
from qwen3_rag_hybrid.stores.address import StoreAddress
from qwen3_rag_hybrid.stores.base import AsyncStore, Query, Store
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.version import VERSION

if TYPE_CHECKING:
    from qwen3_rag_hybrid.stores.milvus.store import MilvusStore
    from qwen3_rag_hybrid.stores.qdrant.edge import QdrantEdgeStore
    from qwen3_rag_hybrid.stores.qdrant.server import QdrantStore
    from qwen3_rag_hybrid.stores.weaviate.store import WeaviateStore

__version__ = VERSION

__all__ = [
    "AsyncStore",
    "CollectionRecord",
    "DamagedError",
    "Document",
    "Finding",
    "HybridSearcher",
    "InUseError",
    "MilvusStore",
    "Point",
    "QdrantEdgeStore",
    "QdrantStore",
    "Query",
    "Store",
    "StoreAddress",
    "WeaviateStore",
    "open_store",
    "reindex",
    "renew_bm25",
]

_STORES = {
    "MilvusStore": "milvus.store",
    "QdrantEdgeStore": "qdrant.edge",
    "QdrantStore": "qdrant.server",
    "WeaviateStore": "weaviate.store",
}


def __getattr__(name: str) -> Any:
    if name not in _STORES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.stores.{_STORES[name]}"), name)
