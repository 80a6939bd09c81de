"""The lexical side of hybrid search: text in, weighted terms out, in any language, no downloads.

Knows words and BM25's document half; knows nothing of stores, which count documents and so own
the other half (IDF), nor of models. `docs/lexical.md` has the rules and what they measure.
"""

from qwen3_rag.lexical.encoder import ENCODER_VERSION, LexicalEncoder, SparseVector
from qwen3_rag.lexical.tokenizer import tokens

__all__ = ["ENCODER_VERSION", "LexicalEncoder", "SparseVector", "tokens"]
