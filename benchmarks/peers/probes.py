"""What a framework's classes are asked: the peer's and this project's in the same words.

Each framework's module puts its classes behind a `Side`. This module runs in the peers'
environments too, so it needs numpy and nothing of this project.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DIM = 64
"""Of the vectors cut short."""

DEPTH = 20
"""Candidates that are reranked."""

ROUNDS = 3
"""The fastest of these counts."""

QUERY = "How do I sort a list in Python?"

# Indentation and lines are what this text is about.
CODE = "def sort(items):\n    items = list(items)\n\n    items.sort()\n    return items\n"

ANSWER = "To sort a list in Python, call its method sort, or the function sorted for a new list.\n"

# Some 1,500 tokens about something else.
FILLER = "The harbour was quiet, and the boats lay still in the morning light.\n" * 100


@dataclass(frozen=True)
class Models:
    """Folders of the two checkpoints."""

    embedding: str
    reranking: str


@dataclass(frozen=True)
class Ranking:
    """Places of documents, best first, and the scores a caller can see."""

    places: list[int]
    scores: list[float | None]


class Side(Protocol):
    """One framework's classes for both models, the peer's or this project's."""

    @property
    def packages(self) -> Sequence[str]:
        """Distributions whose versions are told."""
        ...

    def embed_query(self, text: str) -> list[float]: ...

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]: ...

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]: ...

    def short_vectors(self, dim: int, texts: Sequence[str]) -> list[list[float]]:
        """Document vectors of a second embedder, told to give so many numbers."""
        ...

    def rerank(self, query: str, texts: Sequence[str]) -> Ranking:
        """All documents, best first."""
        ...

    def keeps_inputs(self, query: str, texts: Sequence[str]) -> bool:
        """Whether what was embedded and reranked is afterwards as it was before."""
        ...

    def queries_apart(self) -> bool | None:
        """Whether a cache of vectors tells a query from a document; `None` without a cache."""
        ...


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Compare two vectors of any length."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def reads_the_end(side: Side) -> bool:
    """Whether an answer at the end of a long document counts.

    One document ends in it and the other does not. Who reads both to the end prefers the same one
    in whichever order they come; who does not sees two equal texts and keeps the order.
    """
    texts = [FILLER + ANSWER, FILLER + FILLER[:80]]
    first = side.rerank(QUERY, texts).places[0]
    return side.rerank(QUERY, texts[::-1]).places[0] != first


async def async_cost(side: Side, texts: Sequence[str]) -> dict[str, float]:
    """How long the async method takes, and how often the event loop ticks meanwhile."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    before = time.perf_counter()
    await side.aembed_documents(texts)
    seconds = time.perf_counter() - before
    ticking.cancel()
    return {"seconds": seconds, "ticks": ticks}


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest round."""
    found = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return min(found)


def best(queries: Sequence[Sequence[float]], documents: Sequence[Sequence[float]]) -> Any:
    """Places of the nearest `DEPTH` documents of each query, as lists."""
    cosines = _unit(queries) @ _unit(documents).T
    return np.argsort(-cosines, axis=1, kind="stable")[:, :DEPTH].tolist()


def search(side: Side, given: Mapping[str, Any]) -> dict[str, Any]:
    """Search densely, and rerank candidates that are the same for every side, with the seconds."""
    documents, queries = given["documents"], given["queries"]
    vectors = [side.embed_query(query) for query in queries]
    reranked = []
    before = time.perf_counter()
    for query, places in zip(queries, given["candidates"], strict=True):
        ranking = side.rerank(query, [documents[place] for place in places])
        reranked.append([places[place] for place in ranking.places])
    seconds = time.perf_counter() - before
    return {
        "dense": best(vectors, side.embed_documents(documents)),
        "reranked": reranked,
        "seconds": {
            "documents": fastest(lambda: side.embed_documents(documents)),
            "queries": fastest(lambda: [side.embed_query(query) for query in queries]),
            "reranking": seconds,
        },
    }


def observe(side: Side, given: Mapping[str, Any]) -> dict[str, Any]:
    """Ask everything.

    Args:
        side: The classes.
        given: `documents` and `queries` of the collection; `candidates`, places of documents by
            query; `card`, the model card's vector of `QUERY`, and `card_code`, of `CODE`.
    """
    query, [bare, code, flat] = (
        side.embed_query(QUERY),
        side.embed_documents([QUERY, CODE, " ".join(CODE.split("\n"))]),
    )
    side.rerank(QUERY, [ANSWER, CODE])  # what is not warm yet is now
    return {
        "versions": {name: version(name) for name in side.packages},
        "query_to_card": cosine(query, given["card"]),
        "query_to_bare": cosine(query, bare),
        "code_to_card": cosine(code, given["card_code"]),
        "code_to_flat": cosine(code, flat),
        "short_norms": np.linalg.norm(side.short_vectors(DIM, [CODE, ANSWER]), axis=1).tolist(),
        "short_dim": len(side.short_vectors(DIM, [CODE])[0]),
        "scores": side.rerank(QUERY, [FILLER[:80], ANSWER, CODE]).scores,
        "keeps_inputs": side.keeps_inputs(QUERY, [FILLER[:80], ANSWER, CODE]),
        "reads_the_end": reads_the_end(side),
        "queries_apart": side.queries_apart(),
        "async": asyncio.run(async_cost(side, given["documents"])),
        **search(side, given),
    }


def main(theirs: Callable[[Models], Side], own: Callable[[Models], Side]) -> None:
    """Run as a program: `theirs` or `own`, a file of what is given, a file for what was seen."""
    which, given, seen = sys.argv[1:]
    content = json.loads(Path(given).read_text(encoding="utf-8"))
    side = {"theirs": theirs, "own": own}[which](Models(**content["models"]))
    Path(seen).write_text(json.dumps(observe(side, content)), encoding="utf-8")


def _unit(vectors: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    rows = np.asarray(vectors, np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
