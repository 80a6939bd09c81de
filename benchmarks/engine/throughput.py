"""Throughput of embedding and reranking, compared with the peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.engine.apart import apart
from benchmarks.engine.models import Model, shapes
from benchmarks.engine.sides import (
    Setup,
    card,
    openvino,
    qwen3_rag_embedding,
    qwen3_rag_reranking,
    sentence_transformers,
)
from benchmarks.engine.texts import Texts, log_normal
from benchmarks.engine.timing import QWEN3_RAG, Row, Side, compare, note

__all__ = ["embedding", "reranking"]

PREFIX = 80
"""Tokens of a reranker's prompt before the document."""

MEAN = 180


def embedding(
    model: Model, setup: Setup, count: int, repeats: int, python: str | None
) -> Iterator[Row]:
    """Embed texts of several lengths.

    Args:
        model: The checkpoints.
        setup: Device and number format.
        count: Number of texts; a quarter of it for long texts.
        repeats: Number of rounds.
        python: Interpreter with OpenVINO; `None` skips it.

    Yields:
        Rows of the table.
    """
    texts = Texts(model.embedding)
    parameters = shapes(model.embedding).parameters
    cases = {
        f"mixed, about {MEAN} tokens": log_normal(MEAN, count),
        "short, 16 tokens": [16] * count,
        "medium, 128 tokens": [128] * count,
        "long, 512 tokens": [512] * max(2, count // 4),
    }
    with ExitStack() as stack:
        own = apart(stack, qwen3_rag_embedding, model.embedding, setup)
        peer = apart(stack, sentence_transformers, model.embedding, setup)
        for name, lengths in cases.items():
            note(f"{model.name}: embedding {len(lengths)} texts, {name}")
            some = texts.texts(lengths)
            sides = [own, peer]
            about: Row = {"section": "embedding", "model": model.name, "tokens": sum(lengths)}
            about |= {"case": f"{len(some)} texts, {name}", "parameters": parameters}
            with ExitStack() as extra:
                if name.startswith("mixed"):
                    sides.append(apart(extra, card, model.embedding, setup))
                    if python:
                        sides.append(openvino(python, model.embedding, setup, extra))
                    about["agreement"] = _least_cosine(sides, some[:4])
                yield from compare(sides, [some] * (1 + repeats), about)
            if name.startswith("mixed") and not python:
                yield {**about, "who": "OpenVINO", "setting": "not run", "runs": []}


def reranking(model: Model, setup: Setup, count: int, repeats: int) -> Iterator[Row]:
    """Rerank documents of several lengths, with a new query in each round.

    Args:
        model: The checkpoints.
        setup: Device and number format.
        count: Number of documents; a quarter of it for long documents.
        repeats: Number of rounds.

    Yields:
        Rows of the table.
    """
    texts = Texts(model.reranking)
    with ExitStack() as stack:
        own = apart(stack, qwen3_rag_reranking, model.reranking, setup)
        peer = apart(stack, sentence_transformers, model.reranking, setup, "reranking")
        for mean, few in ((185, count), (50, count), (500, max(2, count // 4))):
            note(f"{model.name}: reranking {few} documents of about {mean} tokens")
            documents = [texts.text(length) for length in log_normal(mean, few)]
            sides = [own, peer]
            about: Row = {"section": "reranking", "model": model.name}
            about["case"] = f"{few} documents of about {mean} tokens"
            # A cached query prefix must not make a later round faster.
            queries = [texts.query(PREFIX) for _ in range(1 + repeats)]
            about["tokens"] = texts.prompt_tokens(queries[0], documents)
            rounds = [[(query, document) for document in documents] for query in queries]
            if mean == 185:
                sides.append(apart(stack, card, model.reranking, setup, "reranking"))
                about["agreement"] = _largest_difference(sides, rounds[0][:4])
            yield from compare(sides, rounds, about)


def _answers(sides: Sequence[Side], items: Sequence[Any]) -> dict[str, np.ndarray]:
    return {side.who: np.asarray(side.run(items, len(items))) for side in sides}


def _least_cosine(sides: Sequence[Side], items: Sequence[Any]) -> dict[str, float]:
    """Compute the lowest cosine between each peer's vectors and those of qwen3-rag."""
    answers = _answers(sides, items)
    own = answers.pop(QWEN3_RAG)
    return {who: float((own * peer).sum(axis=1).min()) for who, peer in answers.items()}


def _largest_difference(sides: Sequence[Side], items: Sequence[Any]) -> dict[str, float]:
    """Compute the largest difference between each peer's scores and those of qwen3-rag."""
    answers = _answers(sides, items)
    own = answers.pop(QWEN3_RAG)
    return {who: float(np.abs(own - peer).max()) for who, peer in answers.items()}
