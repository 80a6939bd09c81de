"""Searches this project's documentation for three questions, and shows the ranking of each step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen3_rag import Hit
from qwen3_rag.errors import InputError
from qwen3_rag_cli import files
from qwen3_rag_cli.chunking import Chunking
from qwen3_rag_cli.index import Depths, Index
from qwen3_rag_cli.indexing import Indexing
from qwen3_rag_cli.models import Models
from qwen3_rag_cli.places import Place
from qwen3_rag_cli.selection import Choice

__all__ = ["QUESTIONS", "Answer", "documentation", "run"]

#: Each question, and the section that answers it: file and innermost heading.
QUESTIONS = (
    ("Is anything lost when an index run is killed?", "command-line.md: Interrupted runs"),
    ("Which files are skipped?", "command-line.md: What is indexed"),
    ("How do I install torch without CUDA?", "getting-started.md: Install"),
)

#: Names in `Hit.ranks`.
RANKINGS = ("dense", "bm25", "fused", "rerank")
SHOWN = 5
RIGHT = 3
# All fused hits are requested, because they contain the ranking of each retriever.
DEPTHS = Depths(limit=100, candidates=100, rerank=10)


@dataclass(frozen=True)
class Answer:
    """The results of one question.

    Attributes:
        question: The question.
        expected: The section that answers it.
        place: Its rank among the hits; `None` if it was not found.
        rankings: The top sections of each retriever, the fusion and the reranker.
    """

    question: str
    expected: str
    place: int | None
    rankings: dict[str, list[str]]

    @property
    def right(self) -> bool:
        """Whether the section is among the first three."""
        return self.place is not None and self.place <= RIGHT

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return {**asdict(self), "right": self.right}


def documentation() -> Path:
    """Find the folder of the documentation.

    Raises:
        InputError: It is neither in the package nor in an enclosing repository.
    """
    here = Path(__file__).resolve()
    # A wheel contains it (hatch_build.py); an editable installation reads the repository's.
    for folder in (here.parent / "docs", *(parent / "docs" for parent in here.parents[4:5])):
        if (folder / "getting-started.md").is_file():
            return folder
    raise InputError(
        "The documentation is not part of this installation. Install the package "
        "qwen3-rag-cli from a wheel, or run it from the repository."
    )


def run(models: Models, note: Callable[[str], None]) -> list[Answer]:
    """Index the documentation in a temporary folder, and search it for each question.

    Args:
        models: Trained models; with random weights the answers are meaningless.
        note: Called with a message at each step.
    """
    folder = documentation()
    with tempfile.TemporaryDirectory(prefix="qwen3-rag-demo-") as place:
        target = Place.of(Path(place) / "index", base=folder)
        selection = files.find([folder], base=target.base, choice=Choice(["*.md"], ignore=False))
        note(f"Indexing {len(selection.files)} files of {folder} with {models.embedding} ...")
        with Index(target, create=True) as index:
            with Indexing(index, models, Chunking()) as indexing:
                indexing.run(indexing.plan(selection), lambda done, chunks, key: None)
            note(f"{index.manifest.count()} chunks. Asking with {models.reranking} ...")
            with index.searcher(models, DEPTHS) as searcher:
                return [
                    _answer(question, expected, searcher.search(question, limit=DEPTHS.limit))
                    for question, expected in QUESTIONS
                ]


def _answer(question: str, expected: str, hits: list[Hit]) -> Answer:
    rankings = {}
    for name in RANKINGS:
        ranked = sorted(
            (hit for hit in hits if name in hit.ranks), key=lambda hit: hit.ranks[name].rank
        )
        rankings[name] = [_section(hit) for hit in ranked[:SHOWN]]
    sections = [_section(hit) for hit in hits]
    place = sections.index(expected) + 1 if expected in sections else None
    return Answer(question, expected, place, rankings)


def _section(hit: Hit) -> str:
    """Return the file and innermost heading of a hit."""
    return f"{hit.payload['path']}: {str(hit.payload['heading']).rpartition(' > ')[2]}"
