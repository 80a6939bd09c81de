"""Qwen3-Embedding and Qwen3-Reranker for retrieval: the two model classes and what they return.

Importing this package does not load torch, transformers or tokenizers; the first use of a model
does.
"""

from __future__ import annotations

from qwen3_rag._embedder import Qwen3Embedder
from qwen3_rag._prompts import DEFAULT_INSTRUCTION
from qwen3_rag._reranker import Qwen3Reranker
from qwen3_rag._results import Embeddings, Hit, RankedDocument, RankScore, Scores
from qwen3_rag.backends import Remote
from qwen3_rag.errors import (
    BackendError,
    InputError,
    InputTypeError,
    MissingExtraError,
    ModelError,
    Qwen3RagError,
    StoreError,
)
from qwen3_rag.search import Searcher

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_INSTRUCTION",
    "BackendError",
    "Embeddings",
    "Hit",
    "InputError",
    "InputTypeError",
    "MissingExtraError",
    "ModelError",
    "Qwen3Embedder",
    "Qwen3RagError",
    "Qwen3Reranker",
    "RankScore",
    "RankedDocument",
    "Remote",
    "Scores",
    "Searcher",
    "StoreError",
]
