"""Retrieval quality of BM25 alone, beside its peers: nDCG@10 over all queries.

    python -m benchmarks.lexical [--cisi FOLDER] [--scale TEXTS] [--only NAME ...] [--json PATH]

Every document of a corpus is scored for every query. The program prints the tables of
`docs/lexical.md`: the encoder with the true mean length of the corpus and with the default, without
one of its rules, beside the peers in quality and speed, and in a large collection. The peers are
installed in an environment of their own on the first run.

CISI is kept nowhere, because no licence is stated. To measure it, convert the files of a public
repository (`raw/cisi` of fabianobie/luppar) to `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`, and
give their folder, named `cisi`. TEXTS is a folder with English documentation, such as checkouts of
python/peps and rust-lang/rfcs.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import lexical_peers, lexical_scale
from benchmarks.corpora import DEFAULT_DATA, Corpus, bm25, indexed, names, ndcg, ranked, read
from benchmarks.lexical_variants import QUERY_VARIANTS
from benchmarks.peers.environments import DEFAULT, REQUIREMENTS, python_of
from qwen3_rag.lexical import BM25Encoder, mean_length

FLOORS = {
    "cisi": 0.36,
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

NEEDS_ITS_MEAN = {"cisi", "cosqa"}
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
    mean = mean_length(corpus.documents.values())
    return Measurement(
        corpus=corpus.name,
        documents=len(corpus.documents),
        queries=len(corpus.queries),
        mean_length=round(mean, 1),
        ndcg_true_mean=_quality(corpus, bm25(corpus, BM25Encoder(avg_len=mean))),
        ndcg_default=_quality(corpus, bm25(corpus, BM25Encoder())),
    )


def variants(corpus: Corpus) -> dict[str, float]:
    """Return nDCG@10 with the true mean length, without one rule for queries each."""
    encoder = BM25Encoder(avg_len=mean_length(corpus.documents.values()))
    index = indexed(corpus, encoder)
    found = {}
    for name, variant in QUERY_VARIANTS.items():
        with variant():
            found[name] = _quality(corpus, ranked(corpus, index, encoder))
    return found


def _quality(corpus: Corpus, rankings: dict[str, list[tuple[str, float]]]) -> float:
    return ndcg(corpus, {query: [id_ for id_, _ in hits] for query, hits in rankings.items()})


def table(rows: Sequence[Measurement]) -> str:
    """Write the measurements as a Markdown table."""
    lines = [
        "| corpus | documents | queries | terms | nDCG@10, true mean | nDCG@10, avg_len 256 "
        "| loss | minimum |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        minimum = f">= {FLOORS[row.corpus]:.3f}" if row.corpus in FLOORS else ""
        lines.append(
            f"| {row.corpus} | {row.documents} | {row.queries} | {row.mean_length:.0f} "
            f"| {row.ndcg_true_mean:.4f} | {row.ndcg_default:.4f} | {row.loss:+.4f} "
            f"| {minimum}{'' if row.good else ' MISSED'} |"
        )
    return "\n".join(lines)


def variants_table(rows: Sequence[Measurement], found: dict[str, dict[str, float]]) -> str:
    """Write what each rule for queries changes as a Markdown table."""
    lines = [
        f"| corpus | nDCG@10 | {' | '.join(QUERY_VARIANTS)} |",
        f"|---|---|{'---|' * len(QUERY_VARIANTS)}",
    ]
    for row in rows:
        figures = found[row.corpus].values()
        changes = (f"{figure:.4f} ({figure - row.ndcg_true_mean:+.4f})" for figure in figures)
        lines.append(f"| {row.corpus} | {row.ndcg_true_mean:.4f} | {' | '.join(changes)} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lexical", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with corpora/")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these corpora only")
    parser.add_argument("--cisi", type=Path, metavar="FOLDER", help="measure CISI too")
    parser.add_argument(
        "--scale", type=Path, metavar="TEXTS", help="measure precision among the paragraphs of it"
    )
    parser.add_argument("--without-peers", action="store_true", help="install and run no peers")
    parser.add_argument("--environments", type=Path, default=DEFAULT, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results to this file")
    return parser.parse_args()


def _corpora(data: Path, only: Sequence[str] | None, cisi: Path | None) -> list[Corpus]:
    known = names(data)
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        sys.exit(f"No corpus named {unknown}. There are: {', '.join(known)}.")
    chosen = only or sorted(known, key=lambda name: (name not in FLOORS, name))
    folders = [data / "corpora" / name for name in chosen]
    return [read(folder) for folder in ([cisi, *folders] if cisi else folders)]


def main() -> int:
    """Print the tables; return 1 if a limit is missed."""
    arguments = _arguments()
    corpora = _corpora(arguments.data, arguments.only, arguments.cisi)
    rows = [measure(corpus) for corpus in corpora]
    _print(table(rows))
    missed = [
        f"{row.corpus}: {row.ndcg_true_mean:.4f}, {row.ndcg_default:.4f} with avg_len 256"
        for row in rows
        if not row.good
    ]
    without = {corpus.name: variants(corpus) for corpus in corpora}
    _print(variants_table(rows, without))
    result: dict[str, Any] = {
        "settings": BM25Encoder().parameters,
        "python": platform.python_version(),
        "rows": [asdict(row) for row in rows],
        "variants": without,
    }

    told = [corpus for corpus in corpora if corpus.name in lexical_peers.LANGUAGES]
    if told and not arguments.without_peers:
        python = python_of("bm25", arguments.environments.absolute())
        own = {row.corpus: row.ndcg_true_mean for row in rows}
        compared = [lexical_peers.compare(corpus, own[corpus.name], python) for corpus in told]
        _print(lexical_peers.table(compared))
        missed += lexical_peers.failures(compared)
        timed = [corpus for corpus in told if corpus.name in lexical_peers.TIMED]
        speeds = [lexical_peers.measure_speed(corpus, python) for corpus in timed]
        _print(lexical_peers.speed_table(speeds))
        result |= {
            "peers": REQUIREMENTS["bm25"],
            "compared": [{**asdict(row), "difference": row.difference} for row in compared],
            "speed": [asdict(row) for row in speeds],
        }
    if arguments.scale:
        scaled = lexical_scale.measure(arguments.data, arguments.scale)
        _print(lexical_scale.table(scaled))
        missed += lexical_scale.failures(scaled)
        result["scale"] = [{**asdict(row), "loss": row.loss} for row in scaled]

    print("\n".join(f"MISSED {line}" for line in missed) or "All limits are met.")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({**result, "missed": missed}, indent=2) + "\n", encoding="utf-8"
        )
    return 1 if missed else 0


def _print(table: str) -> None:
    print(f"{table}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
