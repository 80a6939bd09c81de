"""The one thing framework retrievers need from any search: the `Searcher` protocol.

Knows results; knows no store and no model.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from qwen3_rag.results import Hit

__all__ = ["Searcher"]


@runtime_checkable
class Searcher(Protocol):
    """Anything that answers a query with hits, best first."""

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        """Search.

        Args:
            query: The user's question, without any prompt text around it.
            limit: How many hits to return.
            offset: How many of the best hits to leave out first.
            filter: The store's own filter object, passed through unchanged.
            instruction: What the query is for; the searcher's own when omitted.
        """
        ...

    async def asearch(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        """Search without blocking the event loop; arguments as in `search`."""
        ...
