from __future__ import annotations

import numpy as np
import pytest

from qwen3_rag._ranking import probability, ranking
from qwen3_rag.backends._base import WHOLE, Output


def _output(logits: list[float]) -> Output:
    whole = np.full(len(logits), WHOLE)
    return Output(np.asarray(logits, dtype=np.float32), None, whole, whole)


@pytest.mark.parametrize(
    ("logit", "expected"),
    [(0.0, 0.5), (2.0, 0.880797), (-2.0, 0.119203), (1000.0, 1.0), (-1000.0, 0.0)],
)
def test_probability_is_the_softmax_of_two_and_never_overflows(
    logit: float, expected: float
) -> None:
    assert probability(logit) == pytest.approx(expected, abs=1e-6)


def test_ranking_orders_by_logit_where_probabilities_are_equal() -> None:
    ranked = ranking(["a", "b"], _output([800.0, 900.0]), 0, None)

    assert [hit.score for hit in ranked] == [1.0, 1.0]
    assert [hit.index for hit in ranked] == [1, 0]


def test_ranking_keeps_ties_in_order_and_counts_from_its_start() -> None:
    ranked = ranking(["a", "b", "c"], _output([9.0, 9.0, 1.0, 1.0, 2.0]), 2, 2)

    assert [(hit.index, hit.logit) for hit in ranked] == [(2, 2.0), (0, 1.0)]
