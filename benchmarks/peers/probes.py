"""The checks that are run on the generic classes and on this project's.

Each framework's module implements `Side`. This module also runs in the environments of the generic
classes, so it imports numpy only and nothing from this project.
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
"""Size of the shortened vectors."""

DEPTH = 20
"""Number of candidates to rerank."""

ROUNDS = 3
"""Number of rounds; the fastest counts."""

QUERY = "How do I sort a list in Python?"

# A text in which indentation and line breaks matter.
CODE = "def sort(items):\n    items = list(items)\n\n    items.sort()\n    return items\n"

ANSWER = "To sort a list in Python, call its method sort, or the function sorted for a new list.\n"

# About 1,500 tokens on another topic.
FILLER = "The harbour was quiet, and the boats lay still in the morning light.\n" * 100


@dataclass(frozen=True)
class Models:
    """The folders of the two checkpoints."""

    embedding: str
    reranking: str


@dataclass(frozen=True)
class Ranking:
    """Indices of documents, best first, and the scores that a caller gets."""

    indices: list[int]
    scores: list[float | None]


class Side(Protocol):
    """The classes of one framework, generic ones or this project's."""

    @property
    def packages(self) -> Sequence[str]:
        """Distributions whose versions are reported."""
        ...

    def embed_query(self, text: str) -> list[float]: ...

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]: ...

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]: ...

    def short_vectors(self, dim: int, texts: Sequence[str]) -> list[list[float]]:
        """Embed documents with a second embedder that has this vector size."""
        ...

    def rerank(self, query: str, texts: Sequence[str]) -> Ranking:
        """Rank all documents."""
        ...

    def keeps_inputs(self, query: str, texts: Sequence[str]) -> bool:
        """Whether embedding and reranking leave the inputs unchanged."""
        ...

    def queries_apart(self) -> bool | None:
        """Whether a vector cache separates queries from documents; `None` without a cache."""
        ...


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute the cosine of two vectors."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def reads_the_end(side: Side) -> bool:
    """Check whether an answer at the end of a long document affects the ranking.

    One of two otherwise equal documents ends with the answer. A reranker that reads to the end puts
    it first in either order. One that truncates sees equal texts and keeps their order.
    """
    texts = [FILLER + ANSWER, FILLER + FILLER[:80]]
    first = side.rerank(QUERY, texts).indices[0]
    return side.rerank(QUERY, texts[::-1]).indices[0] != first


async def async_cost(side: Side, texts: Sequence[str]) -> dict[str, float]:
    """Measure the time of the async method and the ticks of the event loop meanwhile."""
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
    """Return the time of the fastest round, in seconds."""
    found = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return min(found)


def best(queries: Sequence[Sequence[float]], documents: Sequence[Sequence[float]]) -> Any:
    """Return the indices of the `DEPTH` nearest documents of each query."""
    cosines = _unit(queries) @ _unit(documents).T
    return np.argsort(-cosines, axis=1, kind="stable")[:, :DEPTH].tolist()


def search(side: Side, given: Mapping[str, Any]) -> dict[str, Any]:
    """Search with vectors, rerank the given candidates, and time both."""
    documents, queries = given["documents"], given["queries"]
    vectors = [side.embed_query(query) for query in queries]
    reranked = []
    before = time.perf_counter()
    for query, indices in zip(queries, given["candidates"], strict=True):
        ranking = side.rerank(query, [documents[index] for index in indices])
        reranked.append([indices[index] for index in ranking.indices])
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
    """Run all checks.

    Args:
        side: The classes to check.
        given: `documents` and `queries` of the collection; `candidates`, indices of documents per
            query; `card` and `card_code`, the model card's vectors of `QUERY` and `CODE`.
    """
    query, [bare, code, flat] = (
        side.embed_query(QUERY),
        side.embed_documents([QUERY, CODE, " ".join(CODE.split("\n"))]),
    )
    side.rerank(QUERY, [ANSWER, CODE])  # warm up
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
    """Run as a program with three arguments: `theirs` or `own`, input file, output file."""
    which, given, seen = sys.argv[1:]
    content = json.loads(Path(given).read_text(encoding="utf-8"))
    side = {"theirs": theirs, "own": own}[which](Models(**content["models"]))
    Path(seen).write_text(json.dumps(observe(side, content)), encoding="utf-8")


def _unit(vectors: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    rows = np.asarray(vectors, np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
