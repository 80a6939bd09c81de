"""The metrics, on inputs whose values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from qwen3_rag_training.data import Example
from qwen3_rag_training.evaluation import ndcg, pair_accuracy, retrieval_metrics


def test_ndcg_matches_the_definition() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])

    found = ndcg(scores, [{0}, {1}, {0, 2}])

    ideal = 1 + 1 / math.log2(3)
    assert found == pytest.approx((1 + 1 / math.log2(3) + (1 + 0.5) / ideal) / 3)


def test_ndcg_counts_ranks_up_to_k_and_keeps_ties_in_order() -> None:
    assert ndcg(np.array([[1.0, 1.0, 1.0]]), [{1}], k=1) == 0.0
    assert ndcg(np.array([[1.0, 1.0, 1.0]]), [{0}], k=1) == 1.0


def test_each_vector_size_is_reported() -> None:
    examples = [Example("a", "A", ("B",)), Example("b", "B")]
    # The first coordinate alone ranks the wrong document first; the full vector does not.
    vectors = {
        "a": [1.0, 3.0, 0.0],
        "b": [-1.0, 0.0, 3.0],
        "A": [-1.0, 3.0, 0.0],
        "B": [1.0, 0.0, 3.0],
    }

    metrics = retrieval_metrics(
        examples,
        lambda chosen: torch.tensor([vectors[example.query] for example in chosen]),
        lambda texts: torch.tensor([vectors[text] for text in texts]),
        dims=(3, 1),
    )

    assert metrics["ndcg@10"] == 1.0
    assert metrics["ndcg@10/1"] == pytest.approx(1 / math.log2(3))


def test_pair_accuracy_counts_ties_half() -> None:
    assert pair_accuracy([2.0, 1.0, 0.0, 5.0], [1.0, 1.0, 1.0, 1.0]) == pytest.approx(0.625)
