"""Metrics on held-out examples: nDCG for an embedder, hard-negative accuracy for a reranker.

`evaluate` computes those of any model, such as one on a server; training computes them between
steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag_training.data import Example
from qwen3_rag_training.mining import embed_queries

__all__ = ["evaluate", "ndcg", "pair_accuracy", "retrieval_metrics"]

_BATCH = 64


def evaluate(model: Qwen3Embedder | Qwen3Reranker, examples: Sequence[Example]) -> dict[str, float]:
    """Measure a model on held-out examples.

    Args:
        model: An embedder or a reranker, here or on a server (`backend=Remote(...)`).
        examples: The held-out examples.

    Returns:
        `ndcg@10` of an embedder, for a search in all positives and negatives; `pair_accuracy` of a
        reranker, the share of positives that score above their first negative.

    Raises:
        InputError: There are no examples, or none for a reranker has a negative.
        ModelError: The checkpoint is missing or broken.
        BackendError: The model could not be run.
    """
    if isinstance(model, Qwen3Reranker):
        return {"pair_accuracy": _pair_accuracy(model, examples)}
    if not examples:
        raise InputError("There are no examples to evaluate with.")
    return retrieval_metrics(
        examples,
        lambda chosen: torch.from_numpy(embed_queries(model, chosen)),
        lambda texts: torch.from_numpy(model.embed_documents(texts)),
    )


def _pair_accuracy(reranker: Qwen3Reranker, examples: Sequence[Example]) -> float:
    groups: dict[str | None, list[tuple[str, str]]] = {}
    for example in examples:
        for text in (example.positive, *example.negatives[:1]) if example.negatives else ():
            groups.setdefault(example.instruction, []).append((example.query, text))
    if not groups:
        raise InputError("A reranker is evaluated with negatives, and no example has one.")
    logits: list[float] = []
    for instruction, pairs in groups.items():
        logits += reranker.score(pairs, instruction=instruction, details=True).logits
    return pair_accuracy(logits[0::2], logits[1::2])


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
