"""BM25 sparse vectors and terms of texts in any language, without downloads.

Inverse document frequencies (IDF) are left to the store, which counts the documents.
"""

from qwen3_rag.lexical._encoder import (
    ENCODER_VERSION,
    BM25Encoder,
    SparseVector,
    mean_length,
)
from qwen3_rag.lexical._tokenizer import tokens

__all__ = ["ENCODER_VERSION", "BM25Encoder", "SparseVector", "mean_length", "tokens"]
