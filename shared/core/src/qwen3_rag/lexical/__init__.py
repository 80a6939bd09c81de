"""The lexical side of hybrid search: text in, weighted terms out, in any language, no downloads.

Knows words and BM25's document half; knows nothing of stores, which count documents and so own
the other half (IDF), nor of models. `docs/lexical.md` has the rules and what they measure.
"""

from qwen3_rag.lexical._encoder import ENCODER_VERSION, BM25Encoder, SparseVector
from qwen3_rag.lexical._tokenizer import tokens

__all__ = ["ENCODER_VERSION", "BM25Encoder", "SparseVector", "tokens"]
