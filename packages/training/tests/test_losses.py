"""Both losses against double-precision versions written from the report's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qwen3_rag.errors import InputError
from qwen3_rag_training.losses import embedding_loss, reranking_loss

Array = NDArray[np.float64]


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / (math.sqrt(a @ a) * math.sqrt(b @ b)))


def report_loss(
    queries: Array,
    positives: Array,
    negatives: Array,
    positive_ids: list[int],
    negative_ids: list[list[int]],
    *,
    tau: float,
    margin: float,
) -> float:
    """The report's formula, term by term."""

    def term(similarity: float, positive: float, same: bool) -> float:
        masked = similarity > positive + margin or same
        return 0.0 if masked else math.exp(similarity / tau)

    total = 0.0
    count = len(queries)
    for i in range(count):
        positive = cosine(queries[i], positives[i])
        z = math.exp(positive / tau)
        for k, number in enumerate(negative_ids[i]):
            if number >= 0:
                same = number == positive_ids[i]
                z += term(cosine(queries[i], negatives[i, k]), positive, same)
        for j in range(count):
            if j == i:
                continue
            same = positive_ids[j] == positive_ids[i]
            z += term(cosine(queries[i], queries[j]), positive, same)
            z += term(cosine(positives[i], positives[j]), positive, same)
            z += term(cosine(queries[i], positives[j]), positive, same)
        total -= math.log(math.exp(positive / tau) / z)
    return total / count


def batch(seed: int) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(seed)
    queries = random.standard_normal((6, 8))
    positives = queries * 0.5 + random.standard_normal((6, 8))
    return queries, positives, random.standard_normal((6, 3, 8))


IDS = [0, 1, 2, 1, 4, 5]  # examples 1 and 3 have the same positive
NEGATIVE_IDS = [[6, 7, -1], [1, 8, 9], [10, -1, -1], [11, 12, 13], [14, 4, 15], [16, 17, 18]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("margin", [-0.2, 0.1, 3.0])
def test_embedding_loss_matches_the_formula(seed: int, margin: float) -> None:
    queries, positives, negatives = batch(seed)

    loss = embedding_loss(
        *(torch.from_numpy(part) for part in (queries, positives, negatives)),
        positive_ids=torch.tensor(IDS),
        negative_ids=torch.tensor(NEGATIVE_IDS),
        temperature=0.07,
        margin=margin,
    )

    expected = report_loss(
        queries, positives, negatives, IDS, NEGATIVE_IDS, tau=0.07, margin=margin
    )
    assert float(loss) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_these_batches_contain_likely_false_negatives() -> None:
    queries, positives, negatives = (torch.from_numpy(part) for part in batch(0))

    strict = embedding_loss(queries, positives, negatives, margin=-0.2)
    lenient = embedding_loss(queries, positives, negatives, margin=3.0)

    assert float(strict) < float(lenient) - 0.1


def test_loss_with_dims_is_the_mean_over_the_prefixes() -> None:
    queries, positives, negatives = batch(5)
    ids = list(range(6))
    numbers = [[6 + 3 * i + k for k in range(3)] for i in range(6)]

    loss = embedding_loss(
        *(torch.from_numpy(part) for part in (queries, positives, negatives)), dims=(8, 4, 2)
    )

    each = [
        report_loss(
            queries[:, :dim],
            positives[:, :dim],
            negatives[..., :dim],
            ids,
            numbers,
            tau=0.05,
            margin=0.1,
        )
        for dim in (8, 4, 2)
    ]
    assert float(loss) == pytest.approx(np.mean(each), rel=1e-12)


def test_loss_without_negatives_matches_the_formula_without_that_term() -> None:
    queries, positives, negatives = batch(6)
    none = [[-1] * 3] * 6

    loss = embedding_loss(torch.from_numpy(queries), torch.from_numpy(positives))

    expected = report_loss(
        queries, positives, negatives, list(range(6)), none, tau=0.05, margin=0.1
    )
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_single_example_without_negatives_has_zero_loss() -> None:
    vector = torch.ones(1, 4)

    assert float(embedding_loss(vector, vector)) == 0.0


def test_loss_does_not_depend_on_vector_lengths() -> None:
    queries, positives, negatives = (torch.from_numpy(part) for part in batch(1))

    plain = embedding_loss(queries, positives, negatives)
    scaled = embedding_loss(queries * 7, positives * 0.1, negatives * 3)

    assert float(scaled) == pytest.approx(float(plain), rel=1e-12)


def test_embedding_loss_gradient_is_correct() -> None:
    parts = [torch.from_numpy(part).requires_grad_() for part in batch(2)]

    def loss(*vectors: torch.Tensor) -> torch.Tensor:
        return embedding_loss(
            *vectors,
            positive_ids=torch.tensor(IDS),
            negative_ids=torch.tensor(NEGATIVE_IDS),
            temperature=0.5,
            dims=(8, 4),
        )

    assert torch.autograd.gradcheck(loss, tuple(parts))


def test_loss_is_finite_in_float32_at_a_low_temperature() -> None:
    queries, positives, negatives = (torch.from_numpy(part).float() for part in batch(3))

    loss = embedding_loss(queries, positives, negatives, temperature=1e-4)

    assert torch.isfinite(loss)


@pytest.mark.parametrize("dims", [(0,), (9,), (4, -1)])
def test_dims_beyond_the_vector_size_are_an_error(dims: tuple[int, ...]) -> None:
    vectors = torch.ones(2, 8)

    with pytest.raises(InputError, match="`dims`"):
        embedding_loss(vectors, vectors, dims=dims)


def test_temperature_must_be_positive() -> None:
    vectors = torch.ones(2, 8)

    with pytest.raises(InputError, match="`temperature`"):
        embedding_loss(vectors, vectors, temperature=0.0)


def test_reranking_loss_is_minus_log_probability_of_the_label() -> None:
    random = np.random.default_rng(0)
    no, yes = random.standard_normal((2, 7)) * 4
    labels = [1, 0, 1, 1, 0, 0, 1]

    loss = reranking_loss(torch.from_numpy(no), torch.from_numpy(yes), torch.tensor(labels))

    expected = 0.0
    for i, label in enumerate(labels):
        z = math.exp(no[i]) + math.exp(yes[i])
        expected -= math.log((math.exp(yes[i]) if label else math.exp(no[i])) / z)
    assert float(loss) == pytest.approx(expected / len(labels), rel=1e-12)


def test_reranking_loss_gradient_is_correct() -> None:
    random = np.random.default_rng(1)
    no, yes = (torch.from_numpy(row).requires_grad_() for row in random.standard_normal((2, 5)))
    labels = torch.tensor([1, 0, 0, 1, 1])

    assert torch.autograd.gradcheck(lambda a, b: reranking_loss(a, b, labels), (no, yes))
