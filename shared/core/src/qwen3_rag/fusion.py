"""Fusion of ranked lists into one deterministic order, with each retriever's rank and score.

These definitions are the same for every store. The stores' own methods of the same names give
different numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from qwen3_rag._results import RankScore
from qwen3_rag.errors import InputError, InputTypeError

__all__ = [
    "DEFAULT_CANDIDATES",
    "DEFAULT_FUSION",
    "Fused",
    "FusionMethod",
    "Id",
    "RankedLists",
    "fuse",
    "relative_score",
    "rrf",
]

Id: TypeAlias = str | int
#: Maps each retriever's name to its `(id, score)` pairs; higher is better.
RankedLists: TypeAlias = Mapping[str, Sequence[tuple[Id, float]]]
#: A hit that is being ordered: its score as rounded, negated so that the best come first; its id;
#: its score.
_Ranked: TypeAlias = tuple[float, Id, float]
FusionMethod: TypeAlias = Literal["rrf", "relative_score"]

DEFAULT_FUSION: FusionMethod = "relative_score"
"""The method of everything that fuses and is not told another."""

DEFAULT_CANDIDATES = 200
"""Number of hits per list. Relative score sees how far the best hits stand out of a list only if
the list goes well beyond them (`benchmarks/hybrid_quality.py` measures both)."""

_RRF_K = 60

# Engines agree on a score to about 4e-6, and return equal scores in any order. Scores are counted
# in whole units of 1e-5, which is faster than rounding to decimals, and ties are ordered by id.
_UNITS = 1e5
# Fused scores that are mathematically equal can differ by a few 1e-16 as floats.
_FUSED_DECIMALS = 12


@dataclass(frozen=True)
class Fused:
    """One id in the fused order.

    Attributes:
        id: The id, as the retrievers gave it.
        score: The fused score that determines the order. Each method has its own scale.
        ranks: Rank and score by each retriever that found the id. The score is the retriever's own,
            unrounded; the rank is the position after ties are ordered.
    """

    id: Id
    score: float
    ranks: Mapping[str, RankScore]


def fuse(
    lists: RankedLists,
    method: FusionMethod = DEFAULT_FUSION,
    *,
    k: float = _RRF_K,
    weights: Mapping[str, float] | None = None,
    limit: int | None = None,
) -> list[Fused]:
    """Fuse ranked lists with the named method.

    Args:
        lists: As in `rrf`.
        method: `"relative_score"` or `"rrf"`.
        k: RRF's rank constant. Any but the default needs `method="rrf"`.
        weights: As in `rrf`.
        limit: As in `rrf`.

    Raises:
        InputError: The method is unknown, or its arguments are invalid.
    """
    if method == "rrf":
        return rrf(lists, k=k, weights=weights, limit=limit)
    if method == "relative_score":
        _check_k(k)
        if k != _RRF_K:
            raise InputError(
                f"`k` is RRF's rank constant, got {k!r} for 'relative_score', which has none. "
                "Choose 'rrf' as the fusion, or leave `k` out."
            )
        return relative_score(lists, weights=weights, limit=limit)
    raise InputError(f"`method` must be one of {get_args(FusionMethod)}, got {method!r}.")


def rrf(
    lists: RankedLists,
    *,
    k: float = _RRF_K,
    weights: Mapping[str, float] | None = None,
    limit: int | None = None,
) -> list[Fused]:
    """Reciprocal rank fusion: the sum over retrievers of `weight / (k + rank)`, ranks from 1.

    Only the order inside each list matters, so lists of any scale can be fused. Weights multiply,
    as in Weaviate and Milvus; Qdrant's weights stretch the ranks instead, and its `k=61` equals
    `k=60` here. Source: Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion", SIGIR 2009.

    Args:
        lists: For each retriever's name, its `(id, score)` pairs in any order; higher is better. If
            a list contains an id twice, the better score counts. Not modified.
        k: Rank constant; larger values reduce the advantage of the top ranks. The authors use 60.
        weights: Weights by retriever name; 1 if not given. A retriever with weight 0 adds no score,
            but its hits are still listed, after those of the others.
        limit: Number of hits to return; all when omitted.

    Returns:
        Best first. Ties are ordered by id: numbers before strings, each ascending.

    Raises:
        InputError: A score is not finite, `k` or a weight is negative or not finite, or a weight
            names an unknown retriever.
        InputTypeError: An id is neither a string nor an integer.

    Example:
        >>> lists = {"dense": [("a", 0.9), ("b", 0.8)], "bm25": [("b", 7.1)]}
        >>> [(hit.id, round(hit.score, 4)) for hit in rrf(lists)]
        [('b', 0.0325), ('a', 0.0164)]
    """
    _check_k(k)
    weighing = _weights(lists, weights)
    ordered = {name: _ordered(name, hits) for name, hits in lists.items()}
    shares = {
        name: [weighing[name] / (k + rank) for rank in range(1, len(hits) + 1)]
        for name, hits in ordered.items()
    }
    return _fused(ordered, shares, limit)


def relative_score(
    lists: RankedLists, *, weights: Mapping[str, float] | None = None, limit: int | None = None
) -> list[Fused]:
    """Relative score fusion: each retriever's weight is shared among its hits by their scores.

    A hit's relative score is 1 for the best of `n` hits, `1 / n` for the last, and between them by
    the scores; its share is the square of that, divided by the sum of the list's squares. Unlike
    RRF, this keeps the distances between hits. A retriever whose best hits stand out gives them
    large shares; one that finds everything about equally good, as a weak one does, gives each hit a
    small one. If all scores are equal, so are the shares. A document that was found always counts
    more than one that was not.

    Weaviate's fusion of this name adds the relative scores themselves, so that a weak retriever
    counts as much as a good one. Source of the sum: "CombSUM" with sum-normalised scores, Montague
    and Aslam, "Relevance score normalization for metasearch", CIKM 2001. Squares were chosen by
    measurement (`benchmarks/hybrid_quality.py`).

    Args:
        lists: As in `rrf`.
        weights: As in `rrf`. They are not normalised to a sum of 1.
        limit: As in `rrf`.

    Returns:
        Best first. Ties are ordered by id: numbers before strings, each ascending.

    Raises:
        InputError: As in `rrf`.
        InputTypeError: As in `rrf`.
    """
    weighing = _weights(lists, weights)
    ordered = {name: _ordered(name, hits) for name, hits in lists.items()}
    shares = {name: _shares(hits, weighing[name]) for name, hits in ordered.items()}
    return _fused(ordered, shares, limit)


def _shares(hits: Sequence[_Ranked], weight: float) -> list[float]:
    """Share a weight among a list by the hits' squared relative scores."""
    if not hits:
        return []
    best, last = hits[0][0], hits[-1][0]  # negated, so the best is the least
    if best == last:
        return [weight / len(hits)] * len(hits)
    # The floor lies below the last hit, by the mean distance between two neighbours.
    floor = last + (last - best) / (len(hits) - 1)
    span = floor - best
    relative = [(floor - one) / span for one, _, _ in hits]
    share = weight / math.fsum([one * one for one in relative])
    return [share * one * one for one in relative]


def _ordered(name: str, hits: Sequence[tuple[Id, float]]) -> list[_Ranked]:
    """Return a list with each id once, best first, ties by id."""
    best: dict[Id, float] = {}
    for id_, score in hits:
        if not isinstance(id_, (str, int)):
            raise InputTypeError(
                f"Ids must be str or int, got {id_!r} ({type(id_).__name__}) from {name!r}."
            )
        if not math.isfinite(score * _UNITS):
            raise InputError(
                f"Scores must be finite numbers, got {score!r} for id {id_!r} from {name!r}."
            )
        if id_ not in best or score > best[id_]:
            best[id_] = float(score)
    return _sorted([(-round(score * _UNITS), id_, score) for id_, score in best.items()])


def _fused(
    ordered: Mapping[str, Sequence[_Ranked]],
    shares: Mapping[str, Sequence[float]],
    limit: int | None,
) -> list[Fused]:
    totals: dict[Id, float] = {}
    for name, hits in ordered.items():
        for (_, id_, _), share in zip(hits, shares[name], strict=True):
            totals[id_] = totals.get(id_, 0.0) + share
    if limit is not None and limit < len(totals):
        # Most of the time would be spent on the others. Those that may tie with the last are kept.
        last = sorted(totals.values(), reverse=True)[limit - 1]
        least = last - 2 * 10**-_FUSED_DECIMALS * (1 + last)
        totals = {id_: total for id_, total in totals.items() if total >= least}
    ranks: dict[Id, dict[str, RankScore]] = {id_: {} for id_ in totals}
    parts: dict[Id, list[float]] = {id_: [] for id_ in totals}
    for name, hits in ordered.items():
        for rank, ((_, id_, score), share) in enumerate(zip(hits, shares[name], strict=True), 1):
            if id_ in totals:
                ranks[id_][name] = RankScore(rank, score)
                parts[id_].append(share)
    # `fsum` is exact, so the order of the retrievers cannot break a tie.
    exact = {id_: math.fsum(each) for id_, each in parts.items()}
    best = _sorted([(-round(total, _FUSED_DECIMALS), id_, total) for id_, total in exact.items()])
    return [Fused(id_, total, ranks[id_]) for _, id_, total in best[:limit]]


def _sorted(hits: Sequence[_Ranked]) -> list[_Ranked]:
    """Order by the first number, and equal ones by id: numbers before strings, each ascending."""
    try:
        return sorted(hits)
    except TypeError:  # a number ties with a string
        return sorted(hits, key=lambda hit: (hit[0], isinstance(hit[1], str), hit[1]))


def _check_k(k: float) -> None:
    if not (_is_finite(k, "k") and k >= 0):
        raise InputError(f"`k` must be zero or more, got {k!r}. The usual value is 60.")


def _is_finite(number: float, name: str) -> bool:
    try:
        return math.isfinite(number)
    except (TypeError, OverflowError):
        raise InputTypeError(
            f"`{name}` must be a number, got {number!r} ({type(number).__name__})."
        ) from None


def _weights(lists: Iterable[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    names = list(lists)
    given = {} if weights is None else weights
    if not isinstance(given, Mapping):
        raise InputTypeError(
            f'`weights` must map retrievers to numbers, as in {{"dense": 2}}, got {given!r}.'
        )
    for name, weight in given.items():
        if name not in names:
            raise InputError(f"`weights` names {name!r}, but the retrievers are {names}.")
        if not (_is_finite(weight, f"weights[{name!r}]") and weight >= 0):
            raise InputError(f"The weight of {name!r} must be zero or more, got {weight!r}.")
    return {name: given.get(name, 1.0) for name in names}
