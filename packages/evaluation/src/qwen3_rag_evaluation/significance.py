"""Confidence intervals of means, and paired tests between configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from qwen3_rag.errors import InputError

__all__ = ["Comparison", "Interval", "compare", "corrected", "interval"]

LEVEL = 0.95
_SAMPLES = 10_000
_AT_ONCE = 10_000_000  # numbers drawn, which take 80 MB


@dataclass(frozen=True)
class Interval:
    """A mean over queries, with the interval that covers the true mean in 95 % of samples.

    Attributes:
        mean: The mean.
        low: The lower end.
        high: The upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """How a configuration differs from another one, query by query.

    Attributes:
        difference: The mean difference and its interval; above 0 if the first is better.
        p_value: The probability of a difference this large if there was none, by a paired t-test.
            1 if no query differs.
        better: Number of queries with a higher value in the first.
        worse: Number of queries with a lower value in the first.
    """

    difference: Interval
    p_value: float
    better: int
    worse: int


def interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Compute a mean over queries and its 95 % interval, by the percentile bootstrap.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        values: A value per query.
        seed: Decides the samples.

    Raises:
        InputError: There are no values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        raise InputError("There are no queries to average over.")
    generator = np.random.default_rng(seed)
    means = []
    left = _SAMPLES
    while left:
        rows = min(left, max(1, _AT_ONCE // numbers.size))
        drawn = generator.integers(numbers.size, size=(rows, numbers.size))
        means.append(numbers[drawn].mean(axis=1))
        left -= rows
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Interval(float(numbers.mean()), low, high)


def compare(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Comparison:
    """Compare two configurations by their values for the same queries.

    The paired t-test does not need normal differences for as many queries as collections have:
    Smucker, Allan, Carterette, "A comparison of statistical significance tests for information
    retrieval evaluation", CIKM 2007.

    Args:
        first: The first one's value per query.
        second: The second one's, for the same queries in the same order.
        seed: Decides the samples of the interval.

    Raises:
        InputError: There are no values, or not one for each query.
    """
    if len(first) != len(second):
        raise InputError(
            f"Two configurations are compared by the same queries, got values for {len(first)} and "
            f"{len(second)}."
        )
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    found = interval(differences.tolist(), seed=seed)
    p_value = 1.0
    if len(differences) > 1 and differences.any():
        p_value = float(stats.ttest_rel(first, second).pvalue)
    return Comparison(found, p_value, int((differences > 0).sum()), int((differences < 0).sum()))


def corrected(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct the p-values of several comparisons, of which one may look large by chance.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2), 1979.

    Args:
        p_values: The p-values by name.
    """
    result: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - place)))
        result[name] = largest
    return {name: result[name] for name in p_values}
