"""Test collections, exact BM25 rankings over them, and nDCG@10, for the benchmarks."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.both_sides import DEPTH, Index, best
from qwen3_rag.lexical import BM25Encoder, mean_length

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared"


@dataclass(frozen=True)
class Corpus:
    """Documents, queries and relevance grades, each by id; every query has a relevant document."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, dict[str, float]]

    def sample(self, most: int) -> Corpus:
        """Return the corpus with at most `most` queries, drawn with a fixed seed."""
        if len(self.queries) <= most:
            return self
        drawn = random.Random(0).sample(sorted(self.queries), most)
        return Corpus(
            self.name, self.documents, {id_: self.queries[id_] for id_ in drawn}, self.relevant
        )


def names(data: Path) -> list[str]:
    """List the corpora of a data folder; end the program if there are none."""
    found = sorted(path.parent.name for path in (data / "corpora").glob("*/qrels.tsv"))
    if not found:
        sys.exit(f"No corpora at {str(data / 'corpora')!r}. Give the folder above it with --data.")
    return found


def read(folder: Path) -> Corpus:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`."""
    relevant: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        relevant.setdefault(query, {})[document] = float(grade)
    queries = _texts(folder / "queries.jsonl")
    return Corpus(
        name=folder.name,
        documents=_texts(folder / "corpus.jsonl"),
        queries={id_: text for id_, text in queries.items() if id_ in relevant},
        relevant=relevant,
    )


def bm25(
    corpus: Corpus, encoder: BM25Encoder | None = None, depth: int = DEPTH
) -> dict[str, list[tuple[str, float]]]:
    """Rank the documents for every query by BM25.

    Args:
        corpus: The corpus.
        encoder: Makes the vectors; by default, one with the mean length of the corpus.
        depth: Maximum number of hits per query.

    Returns:
        `(document id, score)`, best first, by query id. Documents without a term of the query are
        left out.
    """
    texts = list(corpus.documents.values())
    encoder = encoder or BM25Encoder(avg_len=mean_length(texts))
    return ranked(corpus, indexed(corpus, encoder), encoder, depth)


def indexed(corpus: Corpus, encoder: BM25Encoder) -> Index:
    """Encode the documents."""
    return Index([encoder.encode_document(text).as_dict() for text in corpus.documents.values()])


def ranked(
    corpus: Corpus, index: Index, encoder: BM25Encoder, depth: int = DEPTH
) -> dict[str, list[tuple[str, float]]]:
    """Encode the queries, and rank as `bm25` does."""
    return {
        id_: top(corpus, index.scores(encoder.encode_query(text).as_dict()), depth, above=0.0)
        for id_, text in corpus.queries.items()
    }


def top(
    corpus: Corpus, scores: NDArray[np.floating], depth: int = DEPTH, above: float = -np.inf
) -> list[tuple[str, float]]:
    """Return the best documents and their scores; ties are in the corpus's order."""
    ids = list(corpus.documents)
    return [(ids[place], float(scores[place])) for place in best(scores, depth, above)]


def ndcg(corpus: Corpus, rankings: Mapping[str, Iterable[str]]) -> float:
    """Compute the mean nDCG@10 over the corpus's queries.

    Args:
        corpus: The corpus.
        rankings: The ids of the documents found, best first, by query id. A query that is missing
            or found nothing counts as 0.
    """
    gains = []
    for query in corpus.queries:
        grades = corpus.relevant[query]
        found = list(rankings.get(query, ()))[:DEPTH]
        ideal = _gain(sorted(grades.values(), reverse=True)[:DEPTH])
        gains.append(_gain([grades.get(id_, 0.0) for id_ in found]) / ideal)
    return float(np.mean(gains))


def _gain(grades: Sequence[float]) -> float:
    return float(sum(grade / np.log2(rank + 1) for rank, grade in enumerate(grades, 1)))


def _texts(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        return {row["_id"]: row["text"] for row in map(json.loads, lines)}
