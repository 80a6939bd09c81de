"""What the legs found, fused and turned into documents that say where they come from.

Knows Document and the core's fusion; knows no store and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from haystack import Document

from qwen3_rag import Hit, RankScore
from qwen3_rag.fusion import FusionMethod, fuse

__all__ = ["from_hits", "fused_documents", "with_rerank"]

#: Where a document's metadata has its rank and score in each leg.
LEGS = "search_ranks"


def fused_documents(
    legs: Mapping[str, Sequence[Document]],
    method: FusionMethod,
    *,
    k: float,
    weights: Mapping[str, float],
) -> list[Document]:
    """Fuse what the legs found.

    Args:
        legs: For each leg's name its documents, with scores, higher is better.
        method: As in the core's `fuse`, and so below.
        k: How flat RRF's reward is.
        weights: By the leg's name.

    Returns:
        Copies, best first, ties by id.
    """
    scores = {
        name: [(document.id, document.score or 0.0) for document in documents]
        for name, documents in legs.items()
    }
    found = {document.id: document for documents in legs.values() for document in documents}
    return [
        _marked(found[str(one.id)], one.score, {**one.legs, "fused": RankScore(rank, one.score)})
        for rank, one in enumerate(fuse(scores, method, k=k, weights=weights), 1)
    ]


def with_rerank(ranked: Sequence[Document]) -> list[Document]:
    """Note rank and score of documents that a ranker ordered, beside those of the legs."""
    return [
        replace(
            document,
            meta={
                **document.meta,
                LEGS: {**document.meta[LEGS], "rerank": {"rank": rank, "score": document.score}},
            },
        )
        for rank, document in enumerate(ranked, 1)
    ]


def from_hits(hits: Sequence[Hit]) -> list[Document]:
    """Turn a searcher's hits into documents: payload to metadata, number ids to strings."""
    return [
        _marked(
            Document(id=str(hit.id), content=hit.text, meta=dict(hit.payload)), hit.score, hit.legs
        )
        for hit in hits
    ]


def _marked(document: Document, score: float, legs: Mapping[str, RankScore]) -> Document:
    places: dict[str, Any] = {
        name: {"rank": place.rank, "score": place.score} for name, place in legs.items()
    }
    return replace(document, score=score, meta={**document.meta, LEGS: places})
