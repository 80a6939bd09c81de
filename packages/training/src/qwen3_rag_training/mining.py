"""Hard negatives: documents that a model ranks high for a query and that do not answer it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from qwen3_rag import InputError, Qwen3Embedder
from qwen3_rag.integration import FloatArray, check_count
from qwen3_rag_training.data import Example
from qwen3_rag_training.losses import DEFAULT_MARGIN

__all__ = ["embed_queries", "mine_negatives"]

_BLOCK = 256  # queries that are compared with all documents at once


def mine_negatives(
    examples: Sequence[Example],
    embedder: Qwen3Embedder,
    *,
    documents: Iterable[str] = (),
    count: int = 5,
    margin: float = DEFAULT_MARGIN,
    progress: bool = False,
) -> list[Example]:
    """Give each example the documents that are nearest to its query and do not answer it.

    Left out are the documents that answer the same query in any example, and those that are nearer
    than the example's own by more than `margin`, which probably answer it too.

    Args:
        examples: The examples; their own negatives are replaced.
        embedder: Finds the documents. It may run on a server (`backend=Remote(...)`) and keep what
            it computed (`cache=`).
        documents: Further candidates, beside the positives and negatives of all examples.
        count: Maximum negatives per example.
        margin: Difference of cosines above which a document counts as another answer.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        Copies of the examples in the same order, with negatives, the nearest first.

    Raises:
        InputError: There are no examples, or a value is out of range.
        ModelError: The checkpoint is missing or broken.
        BackendError: The model could not be run.
    """
    if not examples:
        raise InputError("There are no examples to find negatives for.")
    check_count(count, "count", 1, required=True)
    answers: dict[str, set[str]] = {}
    texts = dict.fromkeys(documents)
    for example in examples:
        answers.setdefault(example.query, set()).add(example.positive)
        texts.update(dict.fromkeys((example.positive, *example.negatives)))
    candidates = list(texts)
    places = {text: place for place, text in enumerate(candidates)}
    vectors = embedder.embed_documents(candidates, progress=progress)
    queries = embed_queries(embedder, examples, progress=progress)
    found = []
    for start in range(0, len(examples), _BLOCK):
        block = slice(start, start + _BLOCK)
        for example, scores in zip(examples[block], queries[block] @ vectors.T, strict=True):
            right = [places[text] for text in answers[example.query]]
            scores[scores > scores[places[example.positive]] + margin] = -np.inf
            scores[right] = -np.inf
            best = np.argsort(-scores, kind="stable")[:count]
            negatives = [candidates[place] for place in best if scores[place] > -np.inf]
            found.append(replace(example, negatives=tuple(negatives)))
    return found


def embed_queries(
    embedder: Qwen3Embedder, examples: Sequence[Example], *, progress: bool = False
) -> FloatArray:
    """Embed the queries of examples, each with its instruction, `[examples, dim]`."""
    groups: dict[str | None, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(example.instruction, []).append(index)
    rows: dict[int, FloatArray] = {}
    for instruction, indices in groups.items():
        vectors = embedder.embed_queries(
            [examples[index].query for index in indices],
            instruction=instruction,
            progress=progress,
        )
        rows.update(zip(indices, vectors, strict=True))
    return np.stack([rows[index] for index in range(len(examples))])
