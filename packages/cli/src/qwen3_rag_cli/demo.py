"""Three questions to this project's documentation, with the order each step of a search gives.

Knows the questions and the sections that answer them; knows nothing of how it is shown. Works in a
temporary folder that is gone afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen3_rag import Hit
from qwen3_rag_cli import files
from qwen3_rag_cli.chunking import Chunking
from qwen3_rag_cli.documentation import documentation
from qwen3_rag_cli.indexing import Indexing
from qwen3_rag_cli.models import Models
from qwen3_rag_cli.searching import Depths, close, open_searcher
from qwen3_rag_cli.store import Store

__all__ = ["QUESTIONS", "Answer", "run"]

#: Question, and the section that answers it: file and innermost heading.
QUESTIONS = (
    ("Is anything lost when an index run is killed?", "command-line.md: Interrupted runs"),
    ("Which files are skipped?", "command-line.md: What is indexed"),
    ("How do I install torch without CUDA?", "getting-started.md: Install"),
)

ORDERS = {"dense": "dense", "lexical": "lexical", "fused": "fused", "rerank": "reranked"}
SHOWN = 5
RIGHT = 3
# All fused hits are asked for, so that the order of every leg can be told.
DEPTHS = Depths(limit=100, candidates=100, rerank=10)


@dataclass(frozen=True)
class Answer:
    """What a question came back with.

    Attributes:
        question: As asked.
        expected: The section that answers it.
        place: Where it is in the final order, `None` for not at all.
        orders: By the step's name, the sections it put first.
    """

    question: str
    expected: str
    place: int | None
    orders: dict[str, list[str]]

    @property
    def right(self) -> bool:
        """Whether the section is among the first three."""
        return self.place is not None and self.place <= RIGHT

    def as_dict(self) -> dict[str, Any]:
        """Give the answer as plain values."""
        return {**asdict(self), "right": self.right}


def run(models: Models, note: Callable[[str], None]) -> list[Answer]:
    """Index the documentation and ask.

    Args:
        models: Trained ones: with any others the answers mean nothing.
        note: Called with what is going on.
    """
    folder = documentation()
    with tempfile.TemporaryDirectory(prefix="qwen3-rag-demo-") as place:
        selection = files.find([folder], base=folder, include=["*.md"])
        note(f"Indexing {len(selection.files)} files of {folder} with {models.embedding} ...")
        with Store(Path(place) / "index", create=True, base=folder) as store:
            indexing = Indexing(store, models, Chunking())
            try:
                indexing.run(indexing.plan(selection), lambda done, key: None)
            finally:
                indexing.close()
            note(f"{store.manifest.count()} chunks. Asking with {models.reranking} ...")
            return _ask(store, models)


def _ask(store: Store, models: Models) -> list[Answer]:
    searcher = open_searcher(store, models, DEPTHS)
    try:
        return [
            _answer(question, expected, searcher.search(question, limit=DEPTHS.limit))
            for question, expected in QUESTIONS
        ]
    finally:
        close(searcher)


def _answer(question: str, expected: str, hits: list[Hit]) -> Answer:
    orders = {}
    for leg, title in ORDERS.items():
        listed = [hit for hit in hits if leg in hit.legs]
        listed.sort(key=lambda hit: hit.legs[leg].rank)
        orders[title] = [_section(hit) for hit in listed[:SHOWN]]
    sections = [_section(hit) for hit in hits]
    place = sections.index(expected) + 1 if expected in sections else None
    return Answer(question, expected, place, orders)


def _section(hit: Hit) -> str:
    """File and innermost heading."""
    return f"{hit.payload['path']}: {str(hit.payload['heading']).rpartition(' > ')[2]}"
