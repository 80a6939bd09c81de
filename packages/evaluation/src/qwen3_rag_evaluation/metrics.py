"""Metrics of rankings, as trec_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qwen3_rag.errors import InputError

__all__ = ["DEFAULT_METRICS", "Grades", "Metric", "by_score"]

#: The grades of documents by their ids; a grade above 0 is relevant.
Grades: TypeAlias = Mapping[str, float]

DEFAULT_METRICS = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "map@100", "success@1")
"""What reports show if nothing else is asked for."""


@dataclass(frozen=True)
class Metric:
    """A metric of the first documents of a ranking.

    Sources: Voorhees and Harman, "TREC: Experiment and Evaluation in Information Retrieval", 2005;
    for nDCG: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS
    20(4), 2002, with the grades as gains and the logarithm to base 2.

    Attributes:
        kind: `"ndcg"`, `"mrr"`, `"recall"`, `"precision"`, `"map"` or `"success"`.
        cutoff: Number of documents that are looked at.
    """

    kind: str
    cutoff: int

    @classmethod
    def parse(cls, name: str) -> Metric:
        """Read a name such as `"ndcg@10"`.

        Raises:
            InputError: There is no such metric.
        """
        kind, _, cutoff = name.strip().lower().partition("@")
        if kind not in _VALUES or not cutoff.isdecimal() or int(cutoff) < 1:
            raise InputError(
                f"{name!r} is no metric. Give one of {', '.join(_VALUES)} with a number of "
                "documents, such as 'ndcg@10'."
            )
        return cls(kind, int(cutoff))

    def value(self, ranking: Sequence[str], grades: Grades) -> float:
        """Compute the metric of one query.

        Args:
            ranking: The ids of the documents that were found, best first; each id once.
            grades: The grades of the documents that were judged; the others count as irrelevant.

        Returns:
            From 0 to 1; 0 if no document is relevant.

        Raises:
            InputError: An id is there twice.
        """
        if len({*ranking}) < len(ranking):
            raise InputError(f"A ranking has a document twice: {_first_again(ranking)!r}.")
        gains = [max(grades.get(id_, 0.0), 0.0) for id_ in ranking[: self.cutoff]]
        best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        return _VALUES[self.kind](gains, best, self.cutoff) if best else 0.0

    def __str__(self) -> str:
        return f"{self.kind}@{self.cutoff}"


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Order documents as trec_eval does: by score, and equal scores by id, both descending.

    Args:
        scores: The documents' scores by their ids.
    """
    return sorted(scores, key=lambda id_: (scores[id_], id_), reverse=True)


def _first_again(ranking: Sequence[str]) -> str:
    return next(id_ for place, id_ in enumerate(ranking) if id_ in ranking[:place])


def _ndcg(gains: Sequence[float], best: Sequence[float], cutoff: int) -> float:
    return _dcg(gains) / _dcg(best[:cutoff])


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _mrr(gains: Sequence[float], best: Sequence[float], cutoff: int) -> float:
    return next((1 / rank for rank, gain in enumerate(gains, 1) if gain), 0.0)


def _recall(gains: Sequence[float], best: Sequence[float], cutoff: int) -> float:
    return sum(map(bool, gains)) / len(best)


def _precision(gains: Sequence[float], best: Sequence[float], cutoff: int) -> float:
    return sum(map(bool, gains)) / cutoff


def _map(gains: Sequence[float], best: Sequence[float], cutoff: int) -> float:
    places = [rank for rank, gain in enumerate(gains, 1) if gain]
    return math.fsum(found / rank for found, rank in enumerate(places, 1)) / len(best)


def _success(gains: Sequence[float], best: Sequence[float], cutoff: int) -> float:
    return float(any(gains))


_VALUES: Mapping[str, Callable[[Sequence[float], Sequence[float], int], float]] = {
    "ndcg": _ndcg,
    "mrr": _mrr,
    "recall": _recall,
    "precision": _precision,
    "map": _map,
    "success": _success,
}
