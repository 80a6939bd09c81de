"""What the model classes and searchers return: frozen dataclasses of plain values."""

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
    """Vectors and what became of each text on the way.

    Attributes:
        vectors: float32, `[texts, dim]`, every row of unit length.
        tokens: Tokens the model read for each text, prompt and end token included;
            `None` where the backend does not count them.
        cut_at: For each text the number of characters the model read, `None` where it read all.
    """

    vectors: FloatArray
    tokens: tuple[int, ...] | None
    cut_at: tuple[int | None, ...]


@dataclass(frozen=True)
class Scores:
    """Relevance of query-document pairs and what became of each on the way.

    Attributes:
        scores: Probability of "yes" for each pair, 0 to 1.
        logits: The same as log-odds, `logit(yes) - logit(no)`; unlike the probability it does not
            saturate, so it is the number to calibrate or fuse.
        tokens: Tokens the model read for each pair, prompt included; `None` where not counted.
        cut_at: For each pair the characters of the document that were read, `None` for all.
        query_cut_at: The same for the query.
    """

    scores: tuple[float, ...]
    logits: tuple[float, ...]
    tokens: tuple[int, ...] | None
    cut_at: tuple[int | None, ...]
    query_cut_at: tuple[int | None, ...]


@dataclass(frozen=True)
class RankedDocument:
    """One document with its place in a ranking.

    Attributes:
        index: Position in the caller's list of documents.
        score: Probability of "yes", 0 to 1.
        logit: The same as log-odds, `logit(yes) - logit(no)`.
        document: The caller's text, whole.
        cut_at: Characters of the document the model read, `None` when it read all.
        query_cut_at: The same for the query.
    """

    index: int
    score: float
    logit: float
    document: str = field(repr=False)
    cut_at: int | None = None
    query_cut_at: int | None = None


@dataclass(frozen=True)
class RankScore:
    """Where one step of a search put a document.

    Attributes:
        rank: Place in that step's order, from 1.
        score: That step's own score; scales differ from step to step.
    """

    rank: int
    score: float


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        id: The store's id of the document.
        text: The text that was searched and, where asked for, reranked.
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
