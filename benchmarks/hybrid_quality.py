"""Retrieval quality of the ways to fuse BM25 with dense retrieval: nDCG@10.

    python -m benchmarks.hybrid_quality [--dense NAME ...] [--only NAME ...] [--cache FOLDER]

BM25 and a dense model each give their 200 best documents, both found exactly, and every method
fuses the same lists. The dense models are `tiny` and all-MiniLM-L6-v2, whose files are installed in
a folder of their own on the first run: a weak model, and one that is good for English only. The
limits say that the default fusion is worth having with either.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import DEFAULT_DATA, Corpus, bm25, names, ndcg, read, top
from benchmarks.dense_sides import SIDES, DenseSide, Unavailable
from qwen3_rag.fusion import DEFAULT_CANDIDATES, DEFAULT_FUSION, Id, RankedLists, fuse, rrf
from qwen3_rag.lexical import ENCODER_VERSION

COLLECTIONS = (
    "squad_dev_v1.1",  # English; questions by people who read the passage; the most queries
    "tydiqa_en_dev",  # English; questions by people who did not
    "cosqa",  # web queries for Python functions; the most documents
    "xquad_de",  # a language with compounds, and none of MiniLM's
    "xquad_zh",  # a script without spaces
    "tydiqa_ko_dev",  # a script of pairs; questions by people who did not read the passage
)
"""Chosen to differ in language, script, kind of question and of document."""

LEAST_WINS = 0.5
"""Minimum share of a dense side's collections where the default beats the better retriever."""

LARGEST_LOSS, NEAR = 0.03, 0.2
"""Maximum loss against the better retriever, where the two are that near to each other."""

METHODS: dict[str, Callable[[RankedLists], list[Id]]] = {
    "RRF": lambda lists: [hit.id for hit in rrf(lists)],
    "RRF, k = 10": lambda lists: [hit.id for hit in rrf(lists, k=10)],
    "z-score": lambda lists: z_score(lists),
    "min-max": lambda lists: min_max(lists),
    "default": lambda lists: [hit.id for hit in fuse(lists)],
}


@dataclass(frozen=True)
class Row:
    """nDCG@10 on one collection with one dense model."""

    dense_side: str
    collection: str
    documents: int
    queries: int
    dense: float
    bm25: float
    fused: dict[str, float]

    @property
    def gain(self) -> float:
        """Gain of the default fusion over the better retriever."""
        return self.fused["default"] - max(self.dense, self.bm25)

    @property
    def near(self) -> bool:
        """Whether the two retrievers are near each other."""
        return abs(self.dense - self.bm25) <= NEAR


def z_score(lists: RankedLists) -> list[Id]:
    """Fuse by the sum of z-scores; a document that a list lacks gets the list's last."""
    return _sums(lists, lambda scores: (scores - scores.min()) / scores.std())


def min_max(lists: RankedLists) -> list[Id]:
    """Fuse by the sum of scores scaled to 0 and 1, Weaviate's relative score."""
    return _sums(lists, lambda scores: (scores - scores.min()) / np.ptp(scores))


def _sums(
    lists: RankedLists, scale: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[Id]:
    total: dict[Id, float] = {}
    for hits in lists.values():
        scores = np.array([score for _, score in hits])
        equal = not len(scores) or np.ptp(scores) < 1e-9
        shares = np.ones(len(scores)) if equal else scale(scores)
        for (id_, _), share in zip(hits, shares, strict=True):
            total[id_] = total.get(id_, 0.0) + float(share)
    return sorted(total, key=lambda id_: (-round(total[id_], 12), str(id_)))


def measure(side: DenseSide, corpus: Corpus, most: int | None) -> Row:
    """Measure one collection with at most `most` queries, drawn with a fixed seed."""
    asked = corpus if most is None else corpus.sample(most)
    lexical = bm25(asked, depth=DEFAULT_CANDIDATES)
    dense = dict(zip(asked.queries, _dense(side, asked), strict=True))
    return Row(
        side.name,
        corpus.name,
        len(corpus.documents),
        len(asked.queries),
        dense=ndcg(asked, {query: _ids(hits) for query, hits in dense.items()}),
        bm25=ndcg(asked, {query: _ids(hits) for query, hits in lexical.items()}),
        fused={
            name: ndcg(
                asked,
                {
                    query: map(str, method({"dense": dense[query], "bm25": lexical[query]}))
                    for query in asked.queries
                },
            )
            for name, method in METHODS.items()
        },
    )


def _dense(side: DenseSide, corpus: Corpus) -> Iterator[list[tuple[str, float]]]:
    documents = side.documents(list(corpus.documents.values()))
    queries = side.queries(list(corpus.queries.values()))
    for vector in queries:
        cosines: NDArray[np.float64] = np.asarray(documents @ vector, np.float64)
        yield top(corpus, cosines, DEFAULT_CANDIDATES)


def _ids(hits: Sequence[tuple[str, float]]) -> list[str]:
    return [id_ for id_, _ in hits]


def failures(rows: Sequence[Row]) -> list[str]:
    """List the limits that were missed."""
    found = [
        f"{row.dense_side}, {row.collection}: the default changes the better retriever by "
        f"{row.gain:+.3f}"
        for row in rows
        if row.near and row.gain < -LARGEST_LOSS
    ]
    for side in dict.fromkeys(row.dense_side for row in rows):
        own = [row for row in rows if row.dense_side == side]
        wins = sum(row.gain > 0 for row in own)
        if wins < LEAST_WINS * len(own):
            found.append(
                f"{side}: the default beats the better retriever {wins} of {len(own)} times"
            )
    return found


def table(rows: Sequence[Row]) -> str:
    """Write the rows of one dense model as a Markdown table, with the means."""
    means = [np.mean([row.dense for row in rows]), np.mean([row.bm25 for row in rows])]
    means += [np.mean([row.fused[name] for row in rows]) for name in METHODS]
    head = ["collection", "documents", "queries", "dense", "BM25", *METHODS, "default - better"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        figures = [row.dense, row.bm25, *(row.fused[name] for name in METHODS)]
        lines.append(
            [
                row.collection,
                str(row.documents),
                str(row.queries),
                *(f"{figure:.3f}" for figure in figures),
                f"{row.gain:+.3f}",
            ]
        )
    gain = np.mean([row.gain for row in rows])
    lines.append(["mean", "", "", *(f"{figure:.3f}" for figure in means), f"{gain:+.3f}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hybrid_quality", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with corpora/")
    parser.add_argument("--dense", nargs="+", choices=[*SIDES], default=[*SIDES])
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=COLLECTIONS, help="measure these corpora"
    )
    parser.add_argument("--queries", type=int, metavar="N", help="maximum per corpus; default: all")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep the vectors here")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results to this file")
    return parser.parse_args()


def main() -> int:
    """Print a table per dense model; return 1 if a limit is missed."""
    arguments = _arguments()
    unknown = sorted({*arguments.only} - {*names(arguments.data)})
    if unknown:
        sys.exit(f"No corpus named {unknown}. There are: {', '.join(names(arguments.data))}.")
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.dense:
            side = DenseSide(name, arguments.cache or Path(folder))
            try:
                own = [
                    measure(side, read(arguments.data / "corpora" / corpus), arguments.queries)
                    for corpus in arguments.only
                ]
            except Unavailable as reason:
                skipped[name] = str(reason)
                print(f"{name} is skipped. {reason}\n", flush=True)
                continue
            rows += own
            print(f"Dense side: {name}\n\n{table(own)}\n", flush=True)
    missed = failures(rows)
    print("\n".join(missed or ["All limits are met."]))
    if arguments.json:
        result: dict[str, Any] = {
            "encoder_version": ENCODER_VERSION,
            "default": DEFAULT_FUSION,
            "rows": [{**asdict(row), "gain": row.gain} for row in rows],
            "skipped": skipped,
            "missed": missed,
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
