"""The mean length that the BM25 encoder of a collection is given."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import BM25Encoder, mean_length

__all__ = ["LEAST_TEXTS", "fitting_length"]

#: Fewer texts than this say little about the mean length of a collection.
LEAST_TEXTS = 200


def fitting_length(texts: Sequence[str]) -> float:
    """Measure the mean length of texts; few texts, or texts without terms, get the default."""
    default = BM25Encoder().avg_len
    if len(texts) < LEAST_TEXTS:
        return default
    try:
        return round(mean_length(texts), 1)
    except InputError:
        return default
