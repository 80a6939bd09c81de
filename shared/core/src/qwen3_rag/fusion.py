"""Ranked legs to one deterministic order, every result with its rank and score per leg.

Knows ids and scores; knows nothing of stores, texts or where a leg came from. The one definition
of each fusion in this project: what stores call by the same names gives other numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.results import LegScore

__all__ = ["Fused", "FusionMethod", "Id", "Legs", "fuse", "relative_score", "rrf"]

Id: TypeAlias = str | int
Legs: TypeAlias = Mapping[str, Sequence[tuple[Id, float]]]
FusionMethod: TypeAlias = Literal["rrf", "relative_score"]

# Engines agree on a score to about 4e-6, and return equal scores in any order. To this many
# decimals they agree, and the id decides between what is then equal.
_DECIMALS = 5
# Fused scores that are equal on paper differ by a few 1e-16 as floats.
_FUSED_DECIMALS = 12


@dataclass(frozen=True)
class Fused:
    """One id in the fused order.

    Attributes:
        id: The id, as the legs gave it.
        score: The fused score that decided the order. Scales differ from method to method.
        legs: Rank and score in each leg that found the id, by the leg's name. The score is the
            leg's own, unrounded; the rank is the place after ties were put in order.
    """

    id: Id
    score: float
    legs: Mapping[str, LegScore]


def fuse(
    legs: Legs,
    method: FusionMethod = "rrf",
    *,
    k: float = 60,
    weights: Mapping[str, float] | None = None,
) -> list[Fused]:
    """Fuse by the name of the method, for callers whose settings are plain values.

    Args:
        legs: As in `rrf`.
        method: `"rrf"`, which `weights` make weighted RRF, or `"relative_score"`.
        k: For `"rrf"`; the other method has no use for it.
        weights: As in `rrf`.

    Raises:
        InputError: An unknown method, or what the method itself refuses.
    """
    if method == "rrf":
        return rrf(legs, k=k, weights=weights)
    if method == "relative_score":
        return relative_score(legs, weights=weights)
    raise InputError(f"`method` must be one of {get_args(FusionMethod)}, got {method!r}.")


def rrf(legs: Legs, *, k: float = 60, weights: Mapping[str, float] | None = None) -> list[Fused]:
    """Reciprocal rank fusion: the sum over legs of `weight / (k + rank)`, ranks from 1.

    Only the order inside each leg matters, so legs of any scale go together. Weights multiply, as
    in Weaviate and Milvus; Qdrant's stretch the ranks instead, and its `k=61` is our `k=60`.

    Args:
        legs: For each leg's name its `(id, score)` pairs, higher is better, in any order. An id
            that a leg has twice counts once, with its better score. Not modified.
        k: How flat the reward is over the ranks; 60 is the value of the method's authors.
        weights: By the leg's name; a leg that is not named weighs 1. A leg of weight 0 adds no
            score, but its hits are still listed, behind those of the other legs.

    Returns:
        Best first. Ties are ordered by id: numbers before strings, each ascending.

    Raises:
        InputError: A score is not finite, `k` or a weight is negative or not finite, or a weight
            names a leg that is not there.
        InputTypeError: An id is neither a string nor an integer.

    Example:
        >>> legs = {"dense": [("a", 0.9), ("b", 0.8)], "lexical": [("b", 7.1)]}
        >>> [(hit.id, round(hit.score, 4)) for hit in rrf(legs)]
        [('b', 0.0325), ('a', 0.0164)]
    """
    if not (math.isfinite(k) and k >= 0):
        raise InputError(f"`k` must be zero or more, got {k!r}. The usual value is 60.")
    weighing = _weights(legs, weights)
    ordered = {name: _ordered(name, leg) for name, leg in legs.items()}
    return _fused(
        ordered,
        {
            name: [weighing[name] / (k + rank) for rank in range(1, len(leg) + 1)]
            for name, leg in ordered.items()
        },
    )


def relative_score(legs: Legs, *, weights: Mapping[str, float] | None = None) -> list[Fused]:
    """Relative score fusion: the sum over legs of `weight * (score - min) / (max - min)`.

    Keeps how far apart the hits of a leg are, which RRF forgets. The best hit of a leg gets the
    leg's whole weight and its last one nothing. Where a leg has one hit, or all its scores are
    equal, there is no distance to measure and each gets the whole weight: all of them are the
    leg's best, and to be found must not count as little as to be missed. Weaviate does the same.

    Args:
        legs: As in `rrf`.
        weights: As in `rrf`. They are used as given, not brought to a sum of 1.

    Returns:
        Best first. Ties are ordered by id: numbers before strings, each ascending.

    Raises:
        InputError: As in `rrf`.
        InputTypeError: As in `rrf`.
    """
    weighing = _weights(legs, weights)
    ordered = {name: _ordered(name, leg) for name, leg in legs.items()}
    return _fused(
        ordered,
        {
            name: [weighing[name] * share for share in _shares([score for _, score in leg])]
            for name, leg in ordered.items()
        },
    )


def _shares(scores: Sequence[float]) -> list[float]:
    """Best-first scores, brought to 1 for the best and 0 for the last."""
    rounded = [round(score, _DECIMALS) for score in scores]
    if not rounded or rounded[0] == rounded[-1]:
        return [1.0] * len(rounded)
    span = rounded[0] - rounded[-1]
    return [(score - rounded[-1]) / span for score in rounded]


def _ordered(name: str, leg: Sequence[tuple[Id, float]]) -> list[tuple[Id, float]]:
    """A leg with each id once, best first, ties by id."""
    best: dict[Id, float] = {}
    for id_, score in leg:
        if not isinstance(id_, str | int):
            raise InputTypeError(
                f"Ids must be str or int, got {id_!r} ({type(id_).__name__}) in leg {name!r}."
            )
        if not math.isfinite(score):
            raise InputError(
                f"Scores must be finite numbers, got {score!r} for id {id_!r} in leg {name!r}."
            )
        best[id_] = max(float(score), best.get(id_, -math.inf))
    return sorted(best.items(), key=lambda hit: (-round(hit[1], _DECIMALS), _id_order(hit[0])))


def _fused(
    ordered: Mapping[str, Sequence[tuple[Id, float]]], shares: Mapping[str, Sequence[float]]
) -> list[Fused]:
    found: dict[Id, dict[str, LegScore]] = {}
    parts: dict[Id, list[float]] = {}
    for name, leg in ordered.items():
        for rank, ((id_, score), share) in enumerate(zip(leg, shares[name], strict=True), 1):
            found.setdefault(id_, {})[name] = LegScore(rank, score)
            parts.setdefault(id_, []).append(share)
    # `fsum` is exact, so the order of the legs cannot break a tie.
    hits = [Fused(id_, math.fsum(parts[id_]), by_leg) for id_, by_leg in found.items()]
    return sorted(hits, key=lambda hit: (-round(hit.score, _FUSED_DECIMALS), _id_order(hit.id)))


def _id_order(id_: Id) -> tuple[bool, int, str]:
    return (True, 0, id_) if isinstance(id_, str) else (False, id_, "")


def _weights(legs: Iterable[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    names = list(legs)
    given = weights or {}
    for name, weight in given.items():
        if name not in names:
            raise InputError(f"`weights` names the leg {name!r}, but the legs are {names}.")
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"The weight of leg {name!r} must be zero or more, got {weight!r}.")
    return {name: given.get(name, 1.0) for name in names}
