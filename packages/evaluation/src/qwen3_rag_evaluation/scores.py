"""`evaluate`: the metrics of a run, query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qwen3_rag.errors import InputError
from qwen3_rag_evaluation.metrics import DEFAULT_METRICS, Grades, Metric
from qwen3_rag_evaluation.runs import Run
from qwen3_rag_evaluation.significance import Comparison, Interval, compare, interval

__all__ = ["Scores", "evaluate"]


@dataclass(frozen=True)
class Scores:
    """The metrics of a run.

    Attributes:
        queries: The ids of the queries, in the order of the values.
        values: For each metric by name, a value per query.
    """

    queries: tuple[str, ...] = field(repr=False)
    values: Mapping[str, tuple[float, ...]] = field(repr=False)

    def interval(self, metric: str) -> Interval:
        """Return the mean of a metric over the queries, with its 95 % interval.

        Raises:
            InputError: The metric was not computed.
        """
        return interval(self._of(metric))

    def compare(self, other: Scores, metric: str) -> Comparison:
        """Compare with the scores of another run for the same queries.

        Raises:
            InputError: The metric was not computed, or the queries differ.
        """
        if self.queries != other.queries:
            raise InputError("Runs are compared by the same queries. Evaluate both with one qrels.")
        return compare(self._of(metric), other._of(metric))

    def _of(self, metric: str) -> tuple[float, ...]:
        name = str(Metric.parse(metric))
        if name not in self.values:
            raise InputError(f"{name!r} was not computed; there are {', '.join(self.values)}.")
        return self.values[name]


def evaluate(
    run: Run, qrels: Mapping[str, Grades], metrics: Sequence[str] = DEFAULT_METRICS
) -> Scores:
    """Compute metrics of a run.

    Args:
        run: For each query, the ids of the documents that were found, best first. A query that is
            missing found nothing, and counts as 0; one without judgements is not counted.
        qrels: For each query, the grades of documents; those above 0 are relevant.
        metrics: Names such as `"ndcg@10"`; see `Metric`.

    Raises:
        InputError: There are no judgements, a metric is unknown, or a ranking has an id twice.

    Example:
        >>> scores = evaluate({"q1": ["a", "b"]}, {"q1": {"b": 1}}, ["mrr@10"])
        >>> scores.interval("mrr@10").mean
        0.5
    """
    if not qrels:
        raise InputError("There are no judgements to evaluate with.")
    parsed = [Metric.parse(name) for name in metrics]
    return Scores(
        tuple(qrels),
        {
            str(one): tuple(one.value(run.get(id_, ()), grades) for id_, grades in qrels.items())
            for one in parsed
        },
    )
