"""Figures whose value is known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from qwen3_rag_training.data import Example
from qwen3_rag_training.evaluation import ndcg, pair_accuracy, retrieval_figures


def test_ndcg_of_ranks() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])

    found = ndcg(scores, [{0}, {1}, {0, 2}])

    ideal = 1 + 1 / math.log2(3)
    assert found == pytest.approx((1 + 1 / math.log2(3) + (1 + 0.5) / ideal) / 3)


def test_ndcg_counts_ranks_up_to_k_and_keeps_ties_in_order() -> None:
    assert ndcg(np.array([[1.0, 1.0, 1.0]]), [{1}], k=1) == 0.0
    assert ndcg(np.array([[1.0, 1.0, 1.0]]), [{0}], k=1) == 1.0


def test_retrieval_figures_report_each_size() -> None:
    examples = [Example("a", "A", ("B",)), Example("b", "B")]
    # The first coordinate points the wrong way, the whole vector the right way.
    vectors = {
        "a": [1.0, 3.0, 0.0],
        "b": [-1.0, 0.0, 3.0],
        "A": [-1.0, 3.0, 0.0],
        "B": [1.0, 0.0, 3.0],
    }

    figures = retrieval_figures(
        examples,
        lambda chosen: torch.tensor([vectors[example.query] for example in chosen]),
        lambda texts: torch.tensor([vectors[text] for text in texts]),
        dims=(3, 1),
    )

    assert figures["ndcg@10"] == 1.0
    assert figures["ndcg@10/1"] == pytest.approx(1 / math.log2(3))


def test_pair_accuracy_counts_ties_half() -> None:
    assert pair_accuracy([2.0, 1.0, 0.0, 5.0], [1.0, 1.0, 1.0, 1.0]) == pytest.approx(0.625)
