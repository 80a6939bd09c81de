"""Makes the BM25 encoder that suits the length of a collection's texts."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import BM25Encoder, mean_length

__all__ = ["LEAST_TEXTS", "encoder_for"]

#: Fewer texts than this say little about the mean length of a collection.
LEAST_TEXTS = 200


def encoder_for(texts: Sequence[str]) -> BM25Encoder:
    """Measure the mean length of texts; few texts, or texts without terms, get the default."""
    if len(texts) < LEAST_TEXTS:
        return BM25Encoder()
    try:
        return BM25Encoder(avg_len=round(mean_length(texts), 1))
    except InputError:
        return BM25Encoder()
