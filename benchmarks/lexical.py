"""Retrieval quality of BM25 alone: nDCG@10 over all queries.

    python -m benchmarks.lexical [--data FOLDER] [--only NAME ...] [--json PATH]

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

from benchmarks.corpora import DEFAULT_DATA, Corpus, bm25, names, ndcg, read
from qwen3_rag.lexical import BM25Encoder, mean_length

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


def measure(corpus: Corpus) -> Measurement:
    """Measure a corpus with the true mean length and with the default."""
    texts = list(corpus.documents.values())
    default = BM25Encoder()
    start = time.perf_counter()
    for text in texts:
        default.encode_document(text)
    seconds = time.perf_counter() - start

    mean = mean_length(texts)
    return Measurement(
        corpus=corpus.name,
        documents=len(texts),
        queries=len(corpus.queries),
        mean_length=round(mean, 1),
        ndcg_true_mean=_quality(corpus, BM25Encoder(avg_len=mean)),
        ndcg_default=_quality(corpus, default),
        megabytes_per_second=sum(len(text.encode()) for text in texts) / 1e6 / seconds,
    )


def _quality(corpus: Corpus, encoder: BM25Encoder) -> float:
    rankings = bm25(corpus, encoder)
    return ndcg(corpus, {query: [id_ for id_, _ in hits] for query, hits in rankings.items()})


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
    known = names(arguments.data)
    unknown = sorted(set(arguments.only or ()) - set(known))
    if unknown:
        sys.exit(f"No corpus named {unknown}. There are: {', '.join(known)}.")

    chosen = arguments.only or sorted(known, key=lambda name: (name not in FLOORS, name))
    rows = [measure(read(arguments.data / "corpora" / name)) for name in chosen]
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
