"""The checks that are run on the frameworks' classes for a store and on `HybridSearcher`.

It also runs in the environments of the frameworks' classes, so it imports nothing from this
project: `python -m benchmarks.stores.checks STORE FRAMEWORK GIVEN PLACE SEEN`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

__all__ = ["FEW", "MANY", "Side", "Texts", "observe"]

FEW = 4
"""Hits that LangChain's classes give by default."""

MANY = 50
"""Hits to rerank."""


class Side(Protocol):
    """One class over one collection."""

    packages: Sequence[str]

    def search(self, query: str, limit: int) -> list[str]:
        """Search by vectors and terms; the texts, the best first."""
        ...

    def page(self, query: str, offset: int, limit: int) -> list[str] | None:
        """Skip the best hits; `None` if there is no such option."""
        ...

    def words(self, query: str) -> list[str] | None:
        """Search by terms alone; `None` if there is no such option."""
        ...

    def nearest(self, query: str) -> list[str] | None:
        """Search by the class's own search for similar texts; `FEW`, by vectors alone."""
        ...

    def score(self, query: str) -> float | None:
        """Return the score of the best hit, of which more should be better."""
        ...


class Texts:
    """The documents and the vectors of all texts."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Take what `benchmarks.stores` prepared."""
        self.ids: list[str] = given["ids"]
        self.texts: list[str] = given["texts"]
        self.documents: list[list[float]] = given["vectors"]
        self._queries: dict[str, list[float]] = given["queries"]

    def of_query(self, query: str) -> list[float]:
        """Return the vector of a query."""
        return self._queries[query]

    def of_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of documents; a text that is none has that of the first."""
        places = {text: place for place, text in enumerate(self.texts)}
        return [self.documents[places.get(text, 0)] for text in texts]


def observe(side: Side, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run all checks.

    Args:
        side: The class to check.
        given: `questions` about texts; `rare`, queries with a word of one text, and that text;
            `unknown`, a query without a word of any text; `near`, each question's nearest texts.
    """
    questions = given["questions"]
    page = side.page(questions[0], 8, FEW)
    words = side.words(given["unknown"])
    nearest = [side.nearest(query) for query in questions]
    scores = [side.score(query) for query in (questions[0], given["unknown"])]
    return {
        "versions": {name: version(name) for name in side.packages},
        "asked 50": len(side.search(questions[0], MANY)),
        "few of many": sum(
            side.search(query, FEW) == side.search(query, MANY)[:FEW] for query in questions
        ),
        "page": None if page is None else len(page),
        "rare": sum(side.search(query, FEW)[:1] == [text] for query, text in given["rare"]),
        "unknown words": None if words is None else len(words),
        "nearest": None
        if None in nearest
        else sum(
            set(found or ()) == set(near)
            for found, near in zip(nearest, given["near"], strict=True)
        ),
        "scores": scores,
    }


def main() -> None:
    """Fill a collection by a framework's class, and check it."""
    store, framework, given, place, seen = sys.argv[1:]
    content = json.loads(Path(given).read_text(encoding="utf-8"))
    module = import_module(f"benchmarks.stores.{store}")
    make: Callable[[Texts, str], Side] = getattr(module, framework)
    found = observe(make(Texts(content), place), content)
    Path(seen).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
