"""Converts hits to documents whose metadata contains the rank and score from each retriever."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from haystack import Document

from qwen3_rag import Hit, RankScore
from qwen3_rag.search import Fuse

__all__ = ["from_searcher", "from_store", "fused_hits"]

#: Metadata key for a document's rank and score from each retriever, fusion and reranker. The value
#: depends on the query, so it never affects a document's id.
RANKS = "search_ranks"

#: Its former name.
FORMER_RANKS = "search_legs"

#: Key in a hit's payload for the original document.
_DOCUMENT = "document"


def fused_hits(
    found: Mapping[str, Sequence[Document]],
    fuse: Fuse,
    texts_of: Callable[[Sequence[Document]], list[str]],
) -> list[Hit]:
    """Fuse the results of a store's retrievers into hits for `from_store`.

    Args:
        found: For each retriever's name, its documents with scores; higher is better.
        fuse: Fuses ids with scores.
        texts_of: Returns the text of each document that a reranker reads.
    """
    fused = fuse(
        {
            name: [(document.id, document.score or 0.0) for document in documents]
            for name, documents in found.items()
        }
    )
    by_id = {document.id: document for documents in found.values() for document in documents}
    documents = [by_id[str(one.id)] for one in fused]
    return [
        Hit(
            id=document.id,
            text=text,
            score=one.score,
            payload={_DOCUMENT: document},
            ranks={**one.ranks, "fused": RankScore(rank, one.score)},
        )
        for rank, (one, document, text) in enumerate(
            zip(fused, documents, texts_of(documents), strict=True), 1
        )
    ]


def from_store(hits: Sequence[Hit]) -> list[Document]:
    """Return copies of the documents that were passed to `fused_hits`."""
    return [_with_ranks(hit.payload[_DOCUMENT], hit) for hit in hits]


def from_searcher(hits: Sequence[Hit]) -> list[Document]:
    """Convert a searcher's hits to documents: payload to metadata, ids to strings."""
    return [
        _with_ranks(Document(id=str(hit.id), content=hit.text, meta=dict(hit.payload)), hit)
        for hit in hits
    ]


def _with_ranks(document: Document, hit: Hit) -> Document:
    ranks: dict[str, Any] = {
        name: {"rank": place.rank, "score": place.score} for name, place in hit.ranks.items()
    }
    # Documents that were stored again after a search may still have its ranks.
    kept = {name: value for name, value in document.meta.items() if name != FORMER_RANKS}
    return replace(document, score=hit.score, meta={**kept, RANKS: ranks})
