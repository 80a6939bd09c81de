"""Exact ranking, and the speed of encoding, for both sides of a comparison.

The peers' environments have numpy, but none of this project's packages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

DEPTH = 10
"""Number of hits that nDCG looks at."""


class Index:
    """Sparse vectors by term, with Qdrant's IDF; scores every document exactly."""

    def __init__(self, vectors: Sequence[Mapping[int, float]]) -> None:
        """Index the documents' vectors."""
        self.documents = len(vectors)
        columns: dict[int, tuple[list[int], list[float]]] = {}
        for place, vector in enumerate(vectors):
            for index, value in vector.items():
                places, values = columns.setdefault(index, ([], []))
                places.append(place)
                values.append(value)
        self._postings = {
            index: (np.array(places), np.array(values) * self._idf(len(places)))
            for index, (places, values) in columns.items()
        }

    def scores(self, query: Mapping[int, float]) -> NDArray[np.float64]:
        """Score all documents; 0 for those without a term of the query."""
        scores = np.zeros(self.documents)
        for index, weight in query.items():
            if index in self._postings:
                places, values = self._postings[index]
                scores[places] += weight * values
        return scores

    def _idf(self, containing: int) -> float:
        return float(np.log((self.documents - containing + 0.5) / (containing + 0.5) + 1))


def best(
    scores: NDArray[np.floating], depth: int = DEPTH, above: float = -np.inf
) -> NDArray[np.intp]:
    """Return the places of the highest scores above a limit; ties are in their order."""
    candidates = (scores > above).nonzero()[0]
    return candidates[np.argsort(-scores[candidates], kind="stable")[:depth]]


def megabytes_per_second(
    encode: Callable[[list[str]], object], texts: list[str]
) -> tuple[float, float]:
    """Encode texts twice: first all words are new, then all have been seen.

    Counts the processor time of all threads, so that other programs hardly matter. Tables that are
    made once per process do not count.
    """
    encode(["Wärme 暖 따뜻함"])
    size = sum(len(text.encode()) for text in texts) / 1e6
    seconds = []
    for _ in range(2):
        start = time.process_time()
        encode(texts)
        seconds.append(time.process_time() - start)
    return size / seconds[0], size / seconds[1]
