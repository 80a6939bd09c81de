"""`run_queries`: what a searcher finds for the queries of a collection, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qwen3_rag import Hit
from qwen3_rag.integration import Progress, progress_bar
from qwen3_rag.search import Searcher

__all__ = ["Outcome", "run_queries"]


@dataclass(frozen=True)
class Outcome:
    """What a searcher found.

    Attributes:
        hits: The hits of each query, best first.
        seconds: How long each query took, in the order of the queries.
    """

    hits: Mapping[str, Sequence[Hit]] = field(repr=False)
    seconds: tuple[float, ...] = field(repr=False)

    @property
    def run(self) -> dict[str, list[str]]:
        """The ids of the hits, as `evaluate` takes them."""
        return {query: [str(hit.id) for hit in hits] for query, hits in self.hits.items()}

    @property
    def before_reranking(self) -> dict[str, list[str]]:
        """The ids of the same hits in their fused order, which is what the reranker was given."""
        return {
            query: [str(hit.id) for hit in sorted(hits, key=lambda hit: hit.ranks["fused"].rank)]
            for query, hits in self.hits.items()
        }


def run_queries(
    searcher: Searcher,
    queries: Mapping[str, str],
    *,
    limit: int = 100,
    instruction: str | None = None,
    progress: Progress = False,
) -> Outcome:
    """Search for all queries, one after the other.

    Args:
        searcher: Any searcher, such as a `HybridSearcher` over your collection.
        queries: The queries by id.
        limit: Number of hits per query; metrics look at no more than these.
        instruction: What the queries are for; defaults to the searcher's.
        progress: `True` for a bar on a terminal, or a function that is told each number of queries
            done.

    Raises:
        Qwen3RagError: A search failed; see `Searcher.search`.
    """
    hits: dict[str, Sequence[Hit]] = {}
    seconds = []
    with progress_bar(progress, len(queries), "Searching", "query") as done:
        for id_, text in queries.items():
            start = time.perf_counter()
            hits[id_] = searcher.search(text, limit=limit, instruction=instruction)
            seconds.append(time.perf_counter() - start)
            if done is not None:
                done(1)
    return Outcome(hits, tuple(seconds))
