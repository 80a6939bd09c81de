"""Figures on held-out examples: retrieval for an embedder, hard-negative accuracy for a reranker.

numpy and torch over vectors and scores; knows no files and no training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qwen3_rag_training.data import Example

__all__ = ["ndcg", "pair_accuracy", "retrieval_figures"]

_BATCH = 64


def ndcg(scores: NDArray[np.floating], relevant: Sequence[set[int]], k: int = 10) -> float:
    """Mean nDCG at `k` with binary relevance; ties keep the order of the documents.

    Args:
        scores: `[queries, documents]`.
        relevant: Indices of the documents that answer each query.
        k: Ranks that count.
    """
    gains = []
    for row, wanted in zip(scores, relevant, strict=True):
        best = np.argsort(-row, kind="stable")[:k]
        found = sum(1 / np.log2(rank + 2) for rank, index in enumerate(best) if index in wanted)
        ideal = sum(1 / np.log2(rank + 2) for rank in range(min(k, len(wanted))))
        gains.append(found / ideal if ideal else 0.0)
    return float(np.mean(gains))


def retrieval_figures(
    examples: Sequence[Example],
    queries: Callable[[Sequence[Example]], Tensor],
    documents: Callable[[Sequence[str]], Tensor],
    dims: Sequence[int] = (),
) -> dict[str, float]:
    """Search each held-out query among all held-out documents, negatives included.

    Args:
        examples: The held-out examples.
        queries: Vectors of examples' queries.
        documents: Vectors of documents.
        dims: Vector sizes to report; the whole vector when empty.

    Returns:
        `ndcg@10` of the largest size, and `ndcg@10/<dim>` of the others.
    """
    numbers: dict[str, int] = {}
    for example in examples:
        for text in (example.positive, *example.negatives):
            numbers.setdefault(text, len(numbers))
    texts = list(numbers)
    asked = _all(lambda start: queries(examples[start : start + _BATCH]), len(examples))
    found = _all(lambda start: documents(texts[start : start + _BATCH]), len(texts))
    relevant = [{numbers[example.positive]} for example in examples]
    sizes = sorted(dims, reverse=True) or [asked.shape[-1]]
    figures = {}
    for place, size in enumerate(sizes):
        left = functional.normalize(asked[:, :size], dim=-1)
        right = functional.normalize(found[:, :size], dim=-1)
        name = "ndcg@10" if place == 0 else f"ndcg@10/{size}"
        figures[name] = ndcg((left @ right.T).cpu().numpy(), relevant)
    return figures


def _all(part: Callable[[int], Tensor], count: int) -> Tensor:
    return torch.cat([part(start) for start in range(0, count, _BATCH)])


def pair_accuracy(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of positives that score above their hard negative; a tie counts half."""
    difference = np.asarray(positive, dtype=float) - np.asarray(negative, dtype=float)
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
