"""Qwen3-Embedding and Qwen3-Reranker for retrieval: the two doors, and what they return.

Importing this loads neither torch nor transformers nor tokenizers; the first use of a door does.
"""

from __future__ import annotations

from qwen3_rag.embedder import Qwen3Embedder
from qwen3_rag.errors import (
    BackendError,
    InputError,
    InputTypeError,
    MissingExtraError,
    ModelError,
    Qwen3RagError,
    StoreError,
)
from qwen3_rag.prompts import DEFAULT_INSTRUCTION
from qwen3_rag.reranker import Qwen3Reranker
from qwen3_rag.results import Embeddings, Hit, LegScore, RankedDocument, Scores
from qwen3_rag.search import Searcher

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_INSTRUCTION",
    "BackendError",
    "Embeddings",
    "Hit",
    "InputError",
    "InputTypeError",
    "LegScore",
    "MissingExtraError",
    "ModelError",
    "Qwen3Embedder",
    "Qwen3RagError",
    "Qwen3Reranker",
    "RankedDocument",
    "Scores",
    "Searcher",
    "StoreError",
]
