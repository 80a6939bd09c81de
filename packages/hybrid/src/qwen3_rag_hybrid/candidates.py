"""From what a store answers to hits: legs cut where no tie is torn, fused ids looked up.

Knows the legs' protocol and the core's order of equals; knows no store, model or method of fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag import Hit, RankScore
from qwen3_rag.fusion import Fused, Id, rrf
from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import SparseVector
from qwen3_rag_hybrid.legs import Legs, Ranked

__all__ = ["candidates", "hits_of"]

# How many more than wanted are asked for, so that equals of the last one rarely cost a second
# question; and how many times the wanted number is looked at before equals are torn after all.
_SLACK = 8
_MOST = 16
_DECIMALS = 5  # as many as fusion compares


def candidates(
    legs: Legs, dense: FloatArray, lexical: SparseVector, depth: int, filter: Any
) -> Ranked:
    """Ask both legs for their best `depth`, the same ones whatever the store makes of equals.

    A store returns hits of equal score in any order, and so cuts them off in any order: documents
    at the last place would come and go. Therefore a leg is read until the score changes, put in
    fusion's order of equals, and cut here.

    Args:
        legs: The store.
        dense: The query's vector.
        lexical: The query's terms.
        depth: How many hits of each leg count.
        filter: The store's own.
    """
    limit = depth + _SLACK
    while True:
        ranked = legs.search(dense, lexical, limit=limit, filter=filter)
        if limit >= depth * _MOST or all(_settled(leg, depth, limit) for leg in ranked.values()):
            return {name: _ordered(name, leg)[:depth] for name, leg in ranked.items()}
        limit *= 2


def hits_of(legs: Legs, fused: Sequence[Fused]) -> list[Hit]:
    """Look fused ids up.

    Args:
        legs: The store.
        fused: Ids in their order.

    Returns:
        Hits in the same order. A document that was deleted since the legs were asked is left out,
        and ranks close up behind it.
    """
    points = legs.retrieve([one.id for one in fused]) if fused else {}
    hits: list[Hit] = []
    for one in fused:
        point = points.get(one.id)
        if point is None:
            continue
        document = point.document
        by_leg = {**one.legs, "fused": RankScore(len(hits) + 1, one.score)}
        hits.append(Hit(one.id, document.text, one.score, document.payload, by_leg))
    return hits


def _settled(leg: Sequence[tuple[Id, float]], depth: int, limit: int) -> bool:
    """Whether no equal of the last hit that counts can lie behind what was read."""
    if len(leg) < limit:
        return True
    scores = sorted((round(score, _DECIMALS) for _, score in leg), reverse=True)
    return scores[depth - 1] != scores[-1]


def _ordered(name: str, leg: Sequence[tuple[Id, float]]) -> list[tuple[Id, float]]:
    """One leg in the order fusion would take it: a fusion of one leg is that order."""
    return [(one.id, one.legs[name].score) for one in rrf({name: leg})]
