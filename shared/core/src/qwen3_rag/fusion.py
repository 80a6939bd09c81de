"""Fusion of ranked lists into one deterministic order, with each retriever's rank and score.

These definitions are the same for every store. The stores' own methods of the same names give
different numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

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
    "tied",
]

Id: TypeAlias = str | int
#: Maps each retriever's name to its `(id, score)` pairs; higher is better.
RankedLists: TypeAlias = Mapping[str, Sequence[tuple[Id, float]]]
_Floats: TypeAlias = NDArray[np.float64]
FusionMethod: TypeAlias = Literal["rrf", "relative_score"]

DEFAULT_FUSION: FusionMethod = "relative_score"
"""The method of everything that fuses and is not told another."""

DEFAULT_CANDIDATES = 200
"""Number of hits per list. Relative score sees how far the best hits stand out of a list only if
the list goes well beyond them (`benchmarks/hybrid_quality.py` measures both)."""

_RRF_K = 60

# Engines compute in single precision: they agree on a score to about 2e-7, or to 5e-7 of a large
# one, and return equal scores in any order. Rounding would part two such scores where they lie on
# two sides of a limit, and it has many limits; few neighbours differ by just this.
_NEAR = 5e-7
_SPAN = 4.0  # times the largest score: the distances in a list have to be finite too
# Fused scores that are mathematically equal can differ by a few 1e-16 as floats.
_FUSED_DECIMALS = 12
_FUSED_UNIT = 1e-12


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


def tied(better: float, worse: float) -> bool:
    """Whether two neighbouring scores of a list are a tie, as engines compute them.

    Ties are transitive: all hits of a list tie that are connected by such neighbours.

    Args:
        better: The score of a hit.
        worse: The score of the next one.
    """
    return better - worse < _NEAR * max(abs(worse), 1.0)


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
        Best first. Ties are ordered by id: numbers before strings, each ascending. Scores of one
        list tie as in `tied`.

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
        name: weighing[name] / (k + np.arange(1.0, len(hits.ranks) + 1))
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
    shares = {name: _shares(hits.levels, weighing[name]) for name, hits in ordered.items()}
    return _fused(ordered, shares, limit)


class _Ordered(NamedTuple):
    """One retriever's hits, each id once, best first and ties by id.

    Attributes:
        ranks: The rank of each id, in this order.
        scores: The scores, as given.
        levels: The scores as compared: those of ties are equal.
    """

    ranks: Mapping[Id, int]
    scores: Sequence[float]
    levels: _Floats


def _shares(levels: _Floats, weight: float) -> _Floats:
    """Share a weight among a list by the hits' squared relative scores."""
    count = len(levels)
    if not count:
        return levels
    best, last = levels[0], levels[-1]
    if best == last:
        return np.full(count, weight / count)
    # The floor lies below the last hit, by the mean distance between two neighbours.
    floor = last - (best - last) / (count - 1)
    relative = (levels - floor) / (best - floor)
    shares: _Floats = weight / math.fsum((relative * relative).tolist()) * relative * relative
    return shares


def _ordered(name: str, hits: Sequence[tuple[Id, float]]) -> _Ordered:
    """Return a list with each id once, best first, ties by id."""
    ids: Sequence[Id]
    scores: Sequence[float]
    ids, scores = zip(*hits, strict=True) if hits else ((), ())
    levels = np.array(scores)
    if not _is_usual(ids, levels):
        best = _checked(name, hits)
        ids, scores = [*best], [*best.values()]
        levels = np.array(scores, dtype=np.float64)
    apart = _are_apart(levels)
    if not apart.all():
        if (levels[:-1] < levels[1:]).any():  # the best are not first
            by_score = np.argsort(-levels, kind="stable")
            levels, places = levels[by_score], by_score.tolist()
            ids, scores = [ids[place] for place in places], [scores[place] for place in places]
            apart = _are_apart(levels)
        begins = np.concatenate(([True], apart))
        tie = begins.cumsum()
        levels = levels[begins][tie - 1]
        rows = _sorted([*zip(tie.tolist(), ids, scores, strict=True)])
        ids, scores = [id_ for _, id_, _ in rows], [score for _, _, score in rows]
    ranks = dict(zip(ids, range(1, len(ids) + 1), strict=True))
    return _Ordered(ranks, scores, levels)


def _is_usual(ids: Sequence[Id], scores: NDArray[Any]) -> bool:
    """Whether each id occurs once, and nothing needs a closer look."""
    return (
        scores.dtype == np.float64
        and bool(np.isfinite(scores * _SPAN).all())
        and {*map(type, ids)} <= {str, int}
        and len({*ids}) == len(ids)
    )


def _are_apart(scores: _Floats) -> NDArray[np.bool_]:
    """Whether each score but the last is higher than the next one, and does not tie with it."""
    following = scores[1:]
    return scores[:-1] - following >= _NEAR * np.maximum(np.abs(following), 1.0)


def _checked(name: str, hits: Sequence[tuple[Id, float]]) -> dict[Id, float]:
    """Return the best score of each id."""
    best: dict[Id, float] = {}
    for id_, score in hits:
        if not isinstance(id_, (str, int)):
            raise InputTypeError(
                f"Ids must be str or int, got {id_!r} ({type(id_).__name__}) from {name!r}."
            )
        if not math.isfinite(score * _SPAN):
            raise InputError(
                f"Scores must be finite numbers, got {score!r} for id {id_!r} from {name!r}."
            )
        if id_ not in best or score > best[id_]:
            best[id_] = float(score)
    return best


def _fused(
    ordered: Mapping[str, _Ordered], shares: Mapping[str, _Floats], limit: int | None
) -> list[Fused]:
    ids = _contenders(ordered, shares, limit)
    ranks: dict[str, NDArray[np.intp]] = {}  # 0 where a retriever did not find the id
    totals = np.zeros(len(ids))
    for name, hits in ordered.items():
        ranks[name] = np.fromiter(map(hits.ranks.get, ids, repeat(0)), np.intp, len(ids))
        totals += np.append(shares[name], 0.0)[ranks[name] - 1]
    if limit is not None and limit < len(ids):
        kept = np.flatnonzero(totals >= _least(float(np.sort(totals)[::-1][limit - 1])))
        ids = [ids[place] for place in kept.tolist()]
        ranks = {name: each[kept] for name, each in ranks.items()}
    found: list[dict[str, RankScore]] = [{} for _ in ids]
    parts: list[list[float]] = [[] for _ in ids]
    for name, hits in ordered.items():
        for place, rank in enumerate(ranks[name].tolist()):
            if rank:
                found[place][name] = RankScore(rank, float(hits.scores[rank - 1]))
                parts[place].append(float(shares[name][rank - 1]))
    # `fsum` is exact, so the order of the retrievers cannot break a tie.
    exact = [math.fsum(each) for each in parts]
    rows = [
        (-round(total, _FUSED_DECIMALS), id_, (total, ranks))
        for total, id_, ranks in zip(exact, ids, found, strict=True)
    ]
    return [Fused(id_, *rest) for _, id_, rest in _sorted(rows)[:limit]]


def _contenders(
    ordered: Mapping[str, _Ordered], shares: Mapping[str, _Floats], limit: int | None
) -> list[Id]:
    """Return the ids that can be among the best; most of the time would be spent on the others.

    The hits of one list up to the limit already have at least the share of the last of them. A hit
    whose share is smaller than a part of that in every list has less than they have.
    """
    least = 0.0
    if limit is not None and limit > 0:
        reached = [float(each[limit - 1]) for each in shares.values() if len(each) >= limit]
        least = _least(max(reached, default=0.0)) / max(len(shares), 1)
    first: dict[Id, None] = {}
    for name, hits in ordered.items():
        count = int(np.count_nonzero(shares[name] >= least))  # shares never rise
        first.update(dict.fromkeys(islice(hits.ranks, count)))
    return [*first]


def _least(total: float) -> float:
    """Return the least total that may tie with another one."""
    return total - 2 * _FUSED_UNIT * (1 + total)


def _sorted(rows: list[tuple[float, Id, Any]]) -> list[tuple[float, Id, Any]]:
    """Sort by the number, and equal ones by id: numbers before strings, each ascending."""
    try:
        return sorted(rows)
    except TypeError:  # a number ties with a string
        return sorted(rows, key=lambda row: (row[0], isinstance(row[1], str), row[1]))


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
    weighing = {name: given.get(name, 1.0) for name in names}
    if not math.isfinite(sum(weighing.values())):  # and with it every sum of weighted scores
        raise InputError(f"The weights add up to infinity, got {given!r}. Only ratios matter.")
    return weighing
