"""Retrieves candidates from a store, in the same order every time, and looks up hits by id."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from qwen3_rag import Hit, RankScore
from qwen3_rag.fusion import Fused, Id, RankedLists, rrf, tied
from qwen3_rag.integration import Flow
from qwen3_rag_hybrid.documents import Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.worker import StoreCalls

__all__ = ["find_candidates", "find_hits"]

# Extra hits to request, so that a tie at the cutoff rarely needs a second request. To find the end
# of a longer tie, at most this multiple of the needed hits is read.
_SLACK = 8
_MOST = 16
_SCORE = itemgetter(1)


def find_candidates(calls: StoreCalls, query: Query, depth: int, filter: Any) -> Flow[RankedLists]:
    """Find the best `depth` hits of each retriever, independent of how the store orders ties.

    A store returns hits of equal score in any order, so hits that tie at its limit would change
    from query to query. Therefore a list is read until the score changes, and cut here as fusion
    orders it.

    Args:
        calls: Runs operations on the store.
        query: The query.
        depth: Number of hits to keep from each retriever.
        filter: The store's own filter object.
    """
    limit = depth + _SLACK
    while True:
        found: RankedLists = yield calls.ask(_search(query, limit, filter))
        lists = {name: sorted(hits, key=_SCORE, reverse=True) for name, hits in found.items()}
        if limit >= depth * _MOST or all(_settled(hits, depth, limit) for hits in lists.values()):
            return {name: _cut(hits, depth) for name, hits in lists.items()}
        limit *= 2


def find_hits(calls: StoreCalls, fused: Sequence[Fused]) -> Flow[list[Hit]]:
    """Look up fused ids.

    Args:
        calls: Runs operations on the store.
        fused: The fused ids, best first.

    Returns:
        Hits in the same order. A document that was deleted in the meantime is left out, and the
        ranks after it move up.
    """
    ids = [one.id for one in fused]
    points: dict[Id, Point] = (yield calls.ask(lambda store: store.retrieve(ids))) if ids else {}
    hits: list[Hit] = []
    for one in fused:
        point = points.get(one.id)
        if point is None:
            continue
        document = point.document
        ranks = {**one.ranks, "fused": RankScore(len(hits) + 1, one.score)}
        hits.append(Hit(one.id, document.text, one.score, document.payload, ranks))
    return hits


def _search(query: Query, limit: int, filter: Any) -> Any:
    return lambda store: store.search(query, limit=limit, filter=filter)


def _settled(hits: Sequence[tuple[Id, float]], depth: int, limit: int) -> bool:
    """Whether all hits that tie with the last kept hit have been read."""
    return len(hits) < limit or not all(map(_tie, hits[depth - 1 :], hits[depth:]))


def _cut(hits: Sequence[tuple[Id, float]], depth: int) -> Sequence[tuple[Id, float]]:
    """Keep the first hits; where the last of them ties, those that come first in fusion."""
    if len(hits) <= depth or not _tie(hits[depth - 1], hits[depth]):
        return hits[:depth]
    first, end = depth - 1, depth + 1
    while first and _tie(hits[first - 1], hits[first]):
        first -= 1
    while end < len(hits) and _tie(hits[end - 1], hits[end]):
        end += 1
    by_id = rrf({"": hits[first:end]}, limit=depth - first)
    return [*hits[:first], *((one.id, one.ranks[""].score) for one in by_id)]


def _tie(one: tuple[Id, float], following: tuple[Id, float]) -> bool:
    return tied(one[1], following[1])
