"""Random texts with an exact number of tokens, from a fixed seed.

They consist of words that are one token each, with and without a leading space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist, fmean

import numpy as np
from tokenizers import Tokenizer

from qwen3_rag.backends import RerankPrompt
from qwen3_rag.integration import RERANK_PREFIX, RERANK_SUFFIX

__all__ = ["Texts", "log_normal"]

SPREAD = 0.75
"""Standard deviation of the logarithm of the lengths."""


def log_normal(mean: int, count: int) -> list[int]:
    """Return lengths at evenly spaced quantiles of a log-normal distribution, shuffled.

    Args:
        mean: Mean length, up to rounding.
        count: Number of lengths.
    """
    normal = NormalDist(0, SPREAD)
    raw = [np.exp(normal.inv_cdf((index + 0.5) / count)) for index in range(count)]
    lengths = [max(1, round(mean * float(value) / fmean(raw))) for value in raw]
    return [lengths[index] for index in np.random.default_rng(3).permutation(count)]


class Texts:
    """Makes texts for a tokenizer."""

    def __init__(self, folder: Path, seed: int = 5) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._random = np.random.default_rng(seed)
        vocabulary = self._tokenizer.get_vocab()
        words = sorted(word for word in vocabulary if re.fullmatch("[a-z]{2,}", word))
        self._words = [word for word in words if self.count(word) == self.count(f" {word}") == 1]

    def count(self, text: str) -> int:
        """Count the tokens of a text, without the end token."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text, with the end token."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def text(self, tokens: int) -> str:
        """Make a text with this number of tokens."""
        text = " ".join(self._random.choice(self._words, tokens))
        if self.count(text) != tokens or self.count(f" {text}") != tokens:
            raise AssertionError(f"A text of {tokens} tokens has {self.count(text)}.")
        return text

    def texts(self, lengths: Sequence[int]) -> list[str]:
        """Make texts to embed with these numbers of tokens, including the end token."""
        return [self.text(max(1, length - 1)) for length in lengths]

    def query(self, prefix: int) -> str:
        """Make a query such that the prompt before the document has `prefix` tokens."""
        empty = self.count(RERANK_PREFIX) + self.count(RerankPrompt("", "").head)
        return self.text(prefix - empty)

    def prompt_tokens(self, query: str, documents: Sequence[str]) -> int:
        """Count the tokens of all prompts, without any sharing."""
        around = RerankPrompt(query, "")
        fixed = sum(self.count(part) for part in (RERANK_PREFIX, around.head, RERANK_SUFFIX))
        return sum(fixed + self.count(f" {document}") for document in documents)
