"""Documents with scores and ranks in their metadata that do not take part in their equality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

__all__ = ["RANKS_KEY", "SCORE_KEY", "ScoredDocument"]

#: Where LangChain's rerankers put a document's score.
SCORE_KEY = "relevance_score"

#: Where a document of a hybrid search has its rank and score from each retriever.
RANKS_KEY = "search_ranks"


class ScoredDocument(Document):
    """A document as one query found it.

    Its metadata holds `relevance_score`, and `search_ranks` after a hybrid search. They change
    with the query, so they are left out when documents are compared: what several queries find
    is equal, as LangChain's `MultiQueryRetriever` expects. It is written and loaded as LangChain's
    own `Document`, and is equal to one with the same id, text and other metadata.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Give the name of LangChain's `Document`."""
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
