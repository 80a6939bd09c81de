"""Turns a backend's log-odds into probabilities and rankings."""

from __future__ import annotations

import math

import numpy as np

from qwen3_rag._results import RankedDocument, Scores
from qwen3_rag.backends._base import WHOLE, Output

__all__ = ["probability", "ranking", "scores"]


def ranking(
    documents: list[str], output: Output, start: int, top_k: int | None
) -> list[RankedDocument]:
    """Rank one query's documents, whose results begin at `start`."""
    ranked = []
    for index, document in enumerate(documents):
        logit = float(output.values[start + index])
        ranked.append(
            RankedDocument(
                index=index,
                score=probability(logit),
                logit=logit,
                document=document,
                cut_at=_cut(output.cut_at[start + index]),
                query_cut_at=_cut(output.query_cut_at[start + index]),
            )
        )
    # Sort by logit, which still differs where probabilities are both 1.0. The sort is stable, so
    # ties keep their order.
    ranked.sort(key=lambda document: -document.logit)
    return ranked[:top_k]


def scores(output: Output) -> Scores:
    """Return the score of each pair, in the order of the pairs."""
    logits = tuple(output.values.tolist())
    return Scores(
        tuple(probability(logit) for logit in logits),
        logits,
        None if output.tokens is None else tuple(output.tokens.tolist()),
        tuple(map(_cut, output.cut_at)),
        tuple(map(_cut, output.query_cut_at)),
    )


def probability(logit: float) -> float:
    """Compute the softmax probability of "yes" over "no": the logistic function of the logit."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1 + odds)


def _cut(cut: np.int64) -> int | None:
    return None if cut == WHOLE else int(cut)
