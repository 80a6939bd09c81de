"""Retrieval quality of BM25 alone: nDCG@10 over all queries.

    python benchmarks/lexical.py [--data FOLDER] [--only NAME ...] [--json PATH]

Every document of a corpus is scored for every query, with the encoder's vectors and Qdrant's IDF.
This is done once with the true mean length of the corpus as `avg_len`, and once with the default.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.lexical import BM25Encoder, SparseVector

DEFAULT_DATA = Path(__file__).resolve().parents[1].parent / "shared"

FLOORS = {
    "cmrc2018_dev": 0.976,
    "cosqa": 0.365,
    "squad_dev_v1.1": 0.88,
    "tydiqa_bn_dev": 0.875,
    "tydiqa_en_dev": 0.91,
    "tydiqa_fi_dev": 0.86,
    "tydiqa_ko_dev": 0.85,
    "tydiqa_ko_train": 0.66,
    "xquad_ar": 0.93,
    "xquad_de": 0.935,
    "xquad_el": 0.94,
    "xquad_es": 0.949,
    "xquad_ru": 0.95,
    "xquad_tr": 0.925,
    "xquad_zh": 0.96,
}
"""Minimum nDCG@10 with the true mean length."""

LARGEST_LOSS = 0.01
"""Maximum loss of nDCG@10 with the default `avg_len`."""

NEEDS_ITS_MEAN = {"cosqa"}
"""Texts so short that the default does not suit them, and `mean_length` has to be used."""

DEPTH = 10


@dataclass(frozen=True)
class Corpus:
    """Documents, queries and relevance grades."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Measurement:
    """One row of the table."""

    corpus: str
    documents: int
    queries: int
    mean_length: float
    ndcg_true_mean: float
    ndcg_default: float
    megabytes_per_second: float

    @property
    def loss(self) -> float:
        """Loss of nDCG@10 with the default `avg_len`; negative if it is better."""
        return self.ndcg_true_mean - self.ndcg_default

    @property
    def good(self) -> bool:
        """Whether the limits are met; true for a corpus without limits."""
        if self.corpus not in FLOORS:
            return True
        suits = self.loss <= LARGEST_LOSS or self.corpus in NEEDS_ITS_MEAN
        return suits and self.ndcg_true_mean >= FLOORS[self.corpus]


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


def measure(corpus: Corpus) -> Measurement:
    """Measure a corpus with the true mean length and with the default."""
    texts = list(corpus.documents.values())
    default = BM25Encoder()
    start = time.perf_counter()
    vectors = [default.encode_document(text) for text in texts]
    seconds = time.perf_counter() - start

    mean_length = float(np.mean([len(default.tokens(text)) for text in texts]))
    fitted = BM25Encoder(avg_len=mean_length)
    return Measurement(
        corpus=corpus.name,
        documents=len(texts),
        queries=len(corpus.queries),
        mean_length=round(mean_length, 1),
        ndcg_true_mean=ndcg(corpus, fitted, [fitted.encode_document(text) for text in texts]),
        ndcg_default=ndcg(corpus, default, vectors),
        megabytes_per_second=sum(len(text.encode()) for text in texts) / 1e6 / seconds,
    )


def ndcg(corpus: Corpus, encoder: BM25Encoder, vectors: Sequence[SparseVector]) -> float:
    """Compute the mean nDCG@10 over all queries; a query without results counts as 0."""
    ids = list(corpus.documents)
    postings = _postings(vectors)
    gains = []
    for query_id, text in corpus.queries.items():
        scores = np.zeros(len(ids))
        query = encoder.encode_query(text).as_dict()
        for index in query.keys() & postings.keys():
            places, weights = postings[index]
            scores[places] += query[index] * weights
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        grades = corpus.relevant[query_id]
        ideal = _gain(sorted(grades.values(), reverse=True)[:DEPTH])
        gains.append(
            _gain([grades.get(ids[at], 0.0) if scores[at] else 0.0 for at in best]) / ideal
        )
    return float(np.mean(gains))


def _postings(
    vectors: Sequence[SparseVector],
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Map each index to its documents and their weights times the IDF."""
    columns: dict[int, tuple[list[int], list[float]]] = {}
    for place, vector in enumerate(vectors):
        for index, value in vector.as_dict().items():
            places, values = columns.setdefault(index, ([], []))
            places.append(place)
            values.append(value)
    return {
        index: (np.array(places), np.array(values) * _idf(len(vectors), len(places)))
        for index, (places, values) in columns.items()
    }


def _idf(documents: int, containing: int) -> float:
    return float(np.log((documents - containing + 0.5) / (containing + 0.5) + 1))


def _gain(grades: Sequence[float]) -> float:
    return float(sum(grade / np.log2(rank + 1) for rank, grade in enumerate(grades, 1)))


def _texts(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        return {row["_id"]: row["text"] for row in map(json.loads, lines)}


def _report(rows: Sequence[Measurement]) -> None:
    print(
        "| corpus | documents | queries | terms | nDCG@10, true mean | nDCG@10, avg_len 256 "
        "| loss | minimum | MB/s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        minimum = f">= {FLOORS[row.corpus]:.3f}" if row.corpus in FLOORS else ""
        print(
            f"| {row.corpus} | {row.documents} | {row.queries} | {row.mean_length:.0f} "
            f"| {row.ndcg_true_mean:.4f} | {row.ndcg_default:.4f} | {row.loss:+.4f} "
            f"| {minimum}{'' if row.good else ' MISSED'} | {row.megabytes_per_second:.1f} |",
            flush=True,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with corpora/")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these corpora only")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results to this file")
    return parser.parse_args()


def main() -> int:
    """Print the table; return 1 if a limit is missed."""
    arguments = _arguments()
    corpora: Path = arguments.data / "corpora"
    if not corpora.is_dir():
        sys.exit(f"No corpora at {str(corpora)!r}. Give their folder with --data.")
    names = sorted(path.parent.name for path in corpora.glob("*/qrels.tsv"))
    unknown = sorted(set(arguments.only or ()) - set(names))
    if unknown:
        sys.exit(f"No corpus named {unknown}. There are: {', '.join(names)}.")

    chosen = arguments.only or sorted(names, key=lambda name: (name not in FLOORS, name))
    rows = [measure(read(corpora / name)) for name in chosen]
    _report(rows)
    if arguments.json:
        result: dict[str, Any] = {
            "settings": BM25Encoder().parameters,
            "python": platform.python_version(),
            "rows": [asdict(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
