"""The documents and queries of the benchmark: real texts, and their vectors by the tiny model."""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.corpora import names, read
from benchmarks.lexical_scale import split
from qwen3_rag import Qwen3Embedder
from qwen3_rag.integration import FloatArray
from qwen3_rag_testkit.backends import LookUpBackend

__all__ = ["Texts", "sample"]


@dataclass(frozen=True)
class Texts:
    """What to add and what to search for, with the vectors of all of it.

    Attributes:
        documents: Texts of documents, each once.
        queries: Questions, each once.
        vectors: `[documents + queries, dim]`, in this order.
    """

    documents: Sequence[str]
    queries: Sequence[str]
    vectors: FloatArray

    @property
    def embedder(self) -> Qwen3Embedder:
        """An embedder that looks the vectors up, so that its time is next to nothing."""
        by_text = dict(zip([*self.documents, *self.queries], self.vectors, strict=True))
        return Qwen3Embedder("benchmark/embedder", backend=LookUpBackend(by_text))


def sample(data: Path, documents: int, queries: int, dim: int, cache: Path | None) -> Texts:
    """Draw texts with a fixed seed, and embed them.

    Args:
        data: Folder with `corpora/` and `text/`. The documents are those of all corpora, and the
            paragraphs of the texts; the queries are those of the corpora.
        documents: Number of documents.
        queries: Number of queries.
        dim: Size of the vectors.
        cache: A file that keeps the vectors for the next run.
    """
    corpora = [read(data / "corpora" / name) for name in names(data)]
    found = {text for corpus in corpora for text in corpus.documents.values()}
    found.update(_paragraphs(data / "text"))
    asked = {text for corpus in corpora for text in corpus.queries.values()} - found
    draw = random.Random(0)
    drawn = (
        _draw(draw, found, documents, "documents", data),
        _draw(draw, asked, queries, "queries", data),
    )
    with Qwen3Embedder("tiny", dim=dim, cache=cache) as embedder:
        vectors = [
            embedder.embed_documents(drawn[0], progress=True),
            embedder.embed_queries(drawn[1]),
        ]
    return Texts(*drawn, np.concatenate(vectors))


def _draw(draw: random.Random, texts: set[str], count: int, kind: str, data: Path) -> list[str]:
    if len(texts) < count:
        sys.exit(f"There are {len(texts):,} {kind} in {str(data)!r}, fewer than {count:,}.")
    return draw.sample(sorted(texts), count)


def _paragraphs(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield from split(json.loads(line)["text"])
