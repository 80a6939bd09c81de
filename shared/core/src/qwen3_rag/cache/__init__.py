"""A cache of vectors and scores in a file, in front of any backend.

Most callers give `cache=PATH` to `Qwen3Embedder` or `Qwen3Reranker`.
"""

from qwen3_rag.cache._spec import Cached
from qwen3_rag.cache._store import CacheInfo, cache_info, clear_cache

__all__ = ["CacheInfo", "Cached", "cache_info", "clear_cache"]
