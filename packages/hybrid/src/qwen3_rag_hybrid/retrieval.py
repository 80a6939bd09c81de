"""From a store's ranked lists to hits: cut so that ties are not torn apart, and looked up by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag import Hit, RankScore
from qwen3_rag.fusion import Fused, Id, RankedLists, rrf
from qwen3_rag.integration import Flow
from qwen3_rag_hybrid.documents import Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.worker import StoreCalls

__all__ = ["find_candidates", "find_hits"]

# How many more than wanted are asked for, so that a tie at the last place rarely costs a second
# question; and up to how many times the wanted number is read to find the end of a tie.
_SLACK = 8
_MOST = 16
_DECIMALS = 5  # as many as fusion compares


def find_candidates(calls: StoreCalls, query: Query, depth: int, filter: Any) -> Flow[RankedLists]:
    """Find the best `depth` of each retriever, the same ones whatever the store does with ties.

    A store returns hits of equal score in any order, so at its limit it cuts them off in any
    order: documents at the last place would come and go. Therefore a list is read until the score
    changes, sorted as fusion sorts ties, and cut here.

    Args:
        calls: Asks the store.
        query: The query.
        depth: How many hits of each retriever count.
        filter: The store's own.
    """
    limit = depth + _SLACK
    while True:
        lists: RankedLists = yield calls.ask(_search(query, limit, filter))
        if limit >= depth * _MOST or all(_settled(hits, depth, limit) for hits in lists.values()):
            return {name: _ordered(name, hits)[:depth] for name, hits in lists.items()}
        limit *= 2


def find_hits(calls: StoreCalls, fused: Sequence[Fused]) -> Flow[list[Hit]]:
    """Look fused ids up.

    Args:
        calls: Asks the store.
        fused: Ids in their order.

    Returns:
        Hits in the same order. A document that was deleted in the meantime is left out, and the
        ranks of those behind it close up.
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
    """Whether no hit that ties with the last one that counts can lie behind what was read."""
    if len(hits) < limit:
        return True
    scores = sorted((round(score, _DECIMALS) for _, score in hits), reverse=True)
    return scores[depth - 1] != scores[-1]


def _ordered(name: str, hits: Sequence[tuple[Id, float]]) -> list[tuple[Id, float]]:
    """One list in the order in which fusion would take it: that of fusing it alone."""
    return [(one.id, one.ranks[name].score) for one in rrf({name: hits})]
