"""Metrics on held-out examples: nDCG for an embedder, hard-negative accuracy for a reranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qwen3_rag_training.data import Example

__all__ = ["ndcg", "pair_accuracy", "retrieval_metrics"]

_BATCH = 64


def ndcg(scores: NDArray[np.floating], relevant: Sequence[set[int]], k: int = 10) -> float:
    """Compute the mean nDCG@k with binary relevance; ties keep the order of the documents.

    Args:
        scores: Scores `[queries, documents]`.
        relevant: For each query, the indices of the documents that answer it.
        k: Cutoff rank.
    """
    gains = []
    for row, wanted in zip(scores, relevant, strict=True):
        best = np.argsort(-row, kind="stable")[:k]
        found = sum(1 / np.log2(rank + 2) for rank, index in enumerate(best) if index in wanted)
        ideal = sum(1 / np.log2(rank + 2) for rank in range(min(k, len(wanted))))
        gains.append(found / ideal if ideal else 0.0)
    return float(np.mean(gains))


def retrieval_metrics(
    examples: Sequence[Example],
    queries: Callable[[Sequence[Example]], Tensor],
    documents: Callable[[Sequence[str]], Tensor],
    dims: Sequence[int] = (),
) -> dict[str, float]:
    """Search all held-out documents, negatives included, with each held-out query.

    Args:
        examples: The held-out examples.
        queries: Embeds the queries of examples.
        documents: Embeds documents.
        dims: Vector sizes to report. Empty reports the full vector only.

    Returns:
        `ndcg@10` for the largest size and `ndcg@10/<dim>` for each smaller one.
    """
    numbers: dict[str, int] = {}
    for example in examples:
        for text in (example.positive, *example.negatives):
            numbers.setdefault(text, len(numbers))
    texts = list(numbers)
    query_vectors = _in_batches(
        lambda start: queries(examples[start : start + _BATCH]), len(examples)
    )
    document_vectors = _in_batches(
        lambda start: documents(texts[start : start + _BATCH]), len(texts)
    )
    relevant = [{numbers[example.positive]} for example in examples]
    sizes = sorted(dims, reverse=True) or [query_vectors.shape[-1]]
    metrics = {}
    for place, size in enumerate(sizes):
        left = functional.normalize(query_vectors[:, :size], dim=-1)
        right = functional.normalize(document_vectors[:, :size], dim=-1)
        name = "ndcg@10" if place == 0 else f"ndcg@10/{size}"
        metrics[name] = ndcg((left @ right.T).cpu().numpy(), relevant)
    return metrics


def _in_batches(embed: Callable[[int], Tensor], count: int) -> Tensor:
    return torch.cat([embed(start) for start in range(0, count, _BATCH)])


def pair_accuracy(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Compute the share of positives that outscore their hard negative; a tie counts half."""
    difference = np.asarray(positive, dtype=float) - np.asarray(negative, dtype=float)
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
