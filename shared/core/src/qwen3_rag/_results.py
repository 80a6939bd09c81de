"""Result types of the model classes and searchers: frozen dataclasses of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embeddings", "FloatArray", "Hit", "RankScore", "RankedDocument", "Scores"]

FloatArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors, with token counts and truncation of each text.

    Attributes:
        vectors: float32, `[texts, dim]`, every row of unit length.
        tokens: Number of tokens read for each text, including prompt and end token; `None` if the
            backend does not count them.
        cut_at: For each text, the number of characters read, or `None` if it was not cut. If a
            server may have cut it without saying so, it is `backends.UNKNOWN`, a negative number.
    """

    vectors: FloatArray
    tokens: tuple[int, ...] | None
    cut_at: tuple[int | None, ...]


@dataclass(frozen=True)
class Scores:
    """Relevance of query-document pairs, with token counts and truncation of each pair.

    Attributes:
        scores: Probability of "yes" for each pair, 0 to 1.
        logits: The same as log-odds, `logit(yes) - logit(no)`. They do not saturate like
            probabilities, so use them to calibrate or fuse.
        tokens: Number of tokens read for each pair, including the prompt; `None` if not counted.
        cut_at: For each pair, the number of characters read of the document, or `None` if it was
            not cut. If a server may have cut it without saying so, it is `backends.UNKNOWN`, a
            negative number.
        query_cut_at: The same for queries.
    """

    scores: tuple[float, ...]
    logits: tuple[float, ...]
    tokens: tuple[int, ...] | None
    cut_at: tuple[int | None, ...]
    query_cut_at: tuple[int | None, ...]


@dataclass(frozen=True)
class RankedDocument:
    """A document in a ranking.

    Attributes:
        index: Position in the input list.
        score: Probability of "yes", 0 to 1.
        logit: The same as log-odds, `logit(yes) - logit(no)`.
        document: The complete input text.
        cut_at: Number of characters read of the document, or `None` if it was not cut; as in
            `Scores`.
        query_cut_at: The same for queries.
    """

    index: int
    score: float
    logit: float
    document: str = field(repr=False)
    cut_at: int | None = None
    query_cut_at: int | None = None


@dataclass(frozen=True)
class RankScore:
    """A document's rank and score in one step of a search.

    Attributes:
        rank: Rank, from 1.
        score: The step's own score; each step has its own scale.
    """

    rank: int
    score: float


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        id: The store's id of the document.
        text: The text that was searched and, if there is a reranker, reranked.
        score: The score that decided the order.
        payload: The store's other fields.
        ranks: Rank and score by each retriever that found the document (`"dense"`, `"bm25"`), by
            fusion (`"fused"`) and by the reranker (`"rerank"`).
    """

    id: str | int
    text: str
    score: float
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ranks: Mapping[str, RankScore] = field(default_factory=dict)
