"""Intervals and tests, beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from qwen3_rag import InputError
from qwen3_rag_evaluation import compare, corrected, interval


def test_the_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).beta(0.5, 0.5, 200)

    got = interval(values.tolist())
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, random_state=1
    ).confidence_interval

    assert got.mean == pytest.approx(values.mean())
    assert got.low == pytest.approx(expected.low, abs=0.004)
    assert got.high == pytest.approx(expected.high, abs=0.004)
    assert interval(values.tolist()) == got
    assert interval(values.tolist(), seed=1) != got


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    numbers = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        found = interval(numbers.uniform(0, 1, 50).tolist())
        covered += found.low <= 0.5 <= found.high

    assert 180 <= covered <= 199


def test_the_interval_of_many_queries_is_drawn_in_parts() -> None:
    values = np.random.default_rng(3).uniform(0, 1, 30_000)

    found = interval(values.tolist())

    width = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert found.high - found.low == pytest.approx(width, rel=0.05)


def test_two_runs_are_compared_by_the_paired_t_test() -> None:
    numbers = np.random.default_rng(7)
    first = numbers.uniform(0, 1, 120)
    second = np.clip(first - numbers.normal(0.03, 0.1, 120), 0, 1)

    got = compare(first.tolist(), second.tolist())

    assert got.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert got.difference.mean == pytest.approx((first - second).mean())
    assert got.difference.low < got.difference.mean < got.difference.high
    assert (got.better, got.worse) == ((first > second).sum(), (first < second).sum())


@pytest.mark.parametrize("values", [[0.5], [0.1, 0.2, 0.3]])
def test_runs_that_do_not_differ_have_the_p_value_one(values: list[float]) -> None:
    got = compare(values, values)

    assert (got.p_value, got.better, got.worse) == (1.0, 0, 0)
    assert got.difference.low == got.difference.high == 0.0


def test_one_query_proves_nothing() -> None:
    assert compare([1.0], [0.0]).p_value == 1.0


def test_several_comparisons_are_corrected_as_holm_has_it() -> None:
    # Worked by hand: 0.01 * 4, 0.02 * 3, 0.02 * 3 (not below the one before), 0.5.
    given = {"c": 0.02, "a": 0.01, "d": 0.5, "b": 0.03}

    assert corrected(given) == pytest.approx({"c": 0.06, "a": 0.04, "d": 0.5, "b": 0.06})
    assert list(corrected(given)) == ["c", "a", "d", "b"]
    assert corrected({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_values_that_do_not_belong_together_are_errors() -> None:
    with pytest.raises(InputError, match="got values for 2 and 1"):
        compare([0.1, 0.2], [0.1])
    with pytest.raises(InputError, match="no queries"):
        interval([])
