"""Selects the documents that a ranker reads, and those that it returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from haystack import Document

from qwen3_rag import RankedDocument

__all__ = ["selected", "unique"]


def unique(documents: Sequence[Document]) -> list[Document]:
    """Keep each id once, with its best score, at its first position."""
    best: dict[str, Document] = {}
    for document in documents:
        known = best.get(document.id)
        if known is None or _score(document) > _score(known):
            best[document.id] = document
    return list(best.values())


def selected(
    documents: Sequence[Document],
    ranked: Sequence[RankedDocument],
    *,
    top_k: int | None,
    score_threshold: float | None,
    scale_score: bool,
) -> list[Document]:
    """Copy the documents to return, with their scores.

    Args:
        documents: The ranked documents.
        ranked: The ranking, best first.
        top_k: Maximum number of documents to keep.
        score_threshold: Minimum score of a document to keep.
        scale_score: Whether scores are probabilities or log-odds.
    """
    scores = [(hit.index, hit.score if scale_score else hit.logit) for hit in ranked]
    lowest = -math.inf if score_threshold is None else score_threshold
    kept = [replace(documents[index], score=score) for index, score in scores if score >= lowest]
    return kept[:top_k]


def _score(document: Document) -> float:
    return -math.inf if document.score is None else document.score
