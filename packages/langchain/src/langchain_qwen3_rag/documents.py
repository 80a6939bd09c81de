"""Documents with scores and ranks in their metadata, which are ignored in comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

__all__ = ["RANKS_KEY", "SCORE_KEY", "ScoredDocument"]

#: Metadata key under which LangChain's rerankers store a document's score.
SCORE_KEY = "relevance_score"

#: Metadata key for a document's rank and score from each retriever.
RANKS_KEY = "search_ranks"


class ScoredDocument(Document):
    """A document with its score for one query.

    Its metadata holds `relevance_score`, and `search_ranks` after a hybrid search. They depend on
    the query, so comparisons ignore them: a document found by several queries is equal each time,
    as LangChain's `MultiQueryRetriever` expects. It is serialised as LangChain's own `Document`,
    and is equal to one with the same id, text and other metadata.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the name of LangChain's `Document`."""
        return Document.lc_id()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoredDocument) and type(other) is not Document:
            return NotImplemented
        return (
            self.id == other.id
            and self.page_content == other.page_content
            and _lasting(self.metadata) == _lasting(other.metadata)
        )


def _lasting(metadata: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in metadata.items() if key not in (SCORE_KEY, RANKS_KEY)}
