"""BM25 sparse vectors, whose dot product with the IDF applied is the BM25 score."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import InputError
from qwen3_rag.lexical._indices import document_indices, term_index
from qwen3_rag.lexical._stems import SNOWBALL
from qwen3_rag.lexical._stop_words import QUESTION_WORDS, STOP_WORDS
from qwen3_rag.lexical._tokenizer import query_terms, segments, tokens

__all__ = ["ENCODER_VERSION", "BM25Encoder", "SparseVector", "mean_length"]

ENCODER_VERSION = 2
"""Increased whenever the terms, indices or weights of any text change. Vectors of different
versions must not be mixed, so a collection records its version."""

_OTHER_LETTER = re.compile(r"[^\W\x00-\x7f]")

# Repeats for a weight of 1: as few as give the smallest weight, 0.25, one.
_REPEATS = 4

_K3 = 8  # so high that the repeats of a long question keep most of their weight


@dataclass(frozen=True, eq=False)
class SparseVector:
    """A vector stored as indices and values.

    Attributes:
        indices: uint32, ascending, without repeats. Read-only.
        values: float32, one per index. Read-only.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    def as_dict(self) -> dict[int, float]:
        """Return the vector as `{index: value}`, the form that Milvus takes."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class BM25Encoder:
    """Encodes texts as BM25 sparse vectors, for a store that applies the IDF.

    The score of a document is the sum, over the terms it shares with the query, of

        weight * IDF(term) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / avg_len))

    where `tf` is the count of the term in the document, `length` the number of terms in the
    document, and `weight` the term's weight in the query. The document vector contains everything
    but the IDF and the weight; the query vector contains the weights.

    Attributes:
        k1: How much repetitions of a term count: 0 ignores them, larger values count them more.
        b: How much long documents are penalised, 0 to 1.
        avg_len: Number of terms in a typical document of the collection, as `mean_length` measures
            it. A constant, so that adding documents never changes existing vectors.
    """

    k1: float = 1.2
    b: float = 0.75
    avg_len: float = 256.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.k1) and self.k1 >= 0):
            raise InputError(f"`k1` must be zero or more, got {self.k1!r}. The usual value is 1.2.")
        if not 0 <= self.b <= 1:
            raise InputError(
                f"`b` must be between 0 and 1, got {self.b!r}. The usual value is 0.75."
            )
        if not (math.isfinite(self.avg_len) and self.avg_len > 0):
            raise InputError(
                f"`avg_len` must be above zero, got {self.avg_len!r}. It is the number of terms "
                "in a typical document; 256 suits most collections."
            )

    @property
    def parameters(self) -> dict[str, float | str]:
        """The parameters that determine the vectors; a collection records and checks them."""
        return {
            "encoder_version": ENCODER_VERSION,
            "snowball": SNOWBALL,
            "k1": self.k1,
            "b": self.b,
            "avg_len": self.avg_len,
        }

    def tokens(self, text: str) -> list[str]:
        """Return a document's terms in order, for stores that compute BM25 themselves."""
        return tokens(text)

    def query_terms(self, text: str) -> list[str]:
        """Return a query's terms, for stores that compute BM25 themselves.

        Such a store counts repeats and takes no weights. Therefore a term is repeated by four times
        its weight in `encode_query`, rounded: four times for a weight of 1, once for a whole stem.

        Raises:
            InputTypeError: `text` is not a string.
        """
        return [
            term
            for term, weight in _weights(text).items()
            for _ in range(math.floor(weight * _REPEATS + 0.5))
        ]

    def encode_document(self, text: str) -> SparseVector:
        """Encode a document.

        Args:
            text: The document. Without any terms, the vector is empty.

        Raises:
            InputTypeError: `text` is not a string.
        """
        found = document_indices(text)
        indices, counts = np.unique(found, return_counts=True)  # equal indices count as one term
        tf = counts.astype(np.float64)
        norm = self.k1 * (1 - self.b + self.b * len(found) / self.avg_len)
        return _vector(indices, tf * (self.k1 + 1) / (tf + norm))

    def encode_query(self, text: str) -> SparseVector:
        """Encode a query.

        A word's beginning and an identifier's whole and parts weigh 1, the whole stem 0.25; the
        spellings of a word share its weight. Repeats are saturated, as in the original BM25: the
        sum `w` of a term's weights counts as `w * (k3 + 1) / (w + k3)` with `k3 = 8` (Robertson et
        al., "Okapi at TREC-3", 1994). Stop words are left out unless there is nothing else, English
        ones only where all letters are English.

        Args:
            text: The query. Without any terms, the vector is empty.

        Raises:
            InputTypeError: `text` is not a string.
        """
        weights: dict[int, float] = {}
        for term, weight in _weights(text).items():
            index = term_index(term)
            weights[index] = weights.get(index, 0.0) + weight
        indices = np.fromiter(weights, dtype=np.uint32, count=len(weights))
        order = np.argsort(indices)
        return _vector(indices[order], np.array([*weights.values()], dtype=np.float64)[order])


def mean_length(texts: Iterable[str]) -> float:
    """Return the mean number of terms of texts, the `avg_len` that suits a collection of them.

    Args:
        texts: The documents of a collection, or a sample.

    Raises:
        InputError: There are no texts, or none has a term.
        InputTypeError: A text is not a string.
    """
    lengths = [len(document_indices(text)) for text in texts]
    if not sum(lengths):
        raise InputError("The mean length needs at least one text with a term.")
    return sum(lengths) / len(lengths)


def _weights(text: str) -> dict[str, float]:
    """Return the terms of a query and their weights."""
    found = segments(text)
    # Other letters than English has suggest another language, where English words mean other
    # things: "máy in" is Vietnamese for a printer.
    stop_words = QUESTION_WORDS if _OTHER_LETTER.search(text) else STOP_WORDS
    kept = [segment for segment in found if not _is_stop_word(segment, text, stop_words)]
    weights = _sum(kept) or _sum(found)  # not every segment has terms
    return {term: weight * (_K3 + 1) / (weight + _K3) for term, weight in weights.items()}


def _sum(segments: Sequence[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for segment in segments:
        for term, weight in query_terms(segment).items():
            weights[term] = weights.get(term, 0.0) + weight
    return weights


def _is_stop_word(segment: str, text: str, stop_words: frozenset[str]) -> bool:
    # In capitals it is an abbreviation (IT, WHO), unless all of the query is in capitals.
    if segment.casefold().replace("\u2019", "'") not in stop_words:
        return False
    return len(segment) == 1 or not segment.isupper() or text.isupper()


def _vector(indices: NDArray[np.uint32], values: NDArray[np.float64]) -> SparseVector:
    vector = SparseVector(indices, values.astype(np.float32))
    vector.indices.flags.writeable = False
    vector.values.flags.writeable = False
    return vector
