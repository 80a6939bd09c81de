"""BM25 beside its peers, Qdrant's and bm25s: part of `lexical`.

The peers are told the language of each corpus, and this project's encoder never is. They run in an
environment of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.both_sides import megabytes_per_second
from benchmarks.corpora import Corpus, ndcg
from benchmarks.lexical_variants import in_new_process
from qwen3_rag.lexical import BM25Encoder

ROOT = Path(__file__).resolve().parents[1]

LANGUAGES = {
    "cisi": "english",
    "cmrc2018_dev": "chinese",
    "cosqa": "english",
    "milvus_faq": "english",
    "squad_dev_v1.1": "english",
    "tydiqa_bn_dev": "bengali",
    "tydiqa_en_dev": "english",
    "tydiqa_fi_dev": "finnish",
    "tydiqa_ko_dev": "korean",
    "tydiqa_ko_train": "korean",
    "xquad_ar": "arabic",
    "xquad_de": "german",
    "xquad_el": "greek",
    "xquad_en": "english",
    "xquad_es": "spanish",
    "xquad_ru": "russian",
    "xquad_tr": "turkish",
    "xquad_zh": "chinese",
}

ALLOWED = 0.005
"""Maximum loss of nDCG@10 against the best peer."""

ALLOWED_MORE = {"cisi": 0.01, "xquad_es": 0.01}
"""The same, where one stemmer for all Latin letters is known to cost more."""

TIMED = (
    "squad_dev_v1.1",
    "xquad_es",
    "xquad_de",
    "tydiqa_fi_dev",
    "xquad_tr",
    "xquad_el",
    "xquad_ru",
    "xquad_ar",
    "tydiqa_bn_dev",
    "tydiqa_ko_train",
    "cmrc2018_dev",
    "cosqa",
)
"""Collections whose documents are encoded for the speed: one per language, and Python."""

ROUNDS = 3


@dataclass(frozen=True)
class Comparison:
    """NDCG@10 on one corpus, of the encoder and of each peer."""

    corpus: str
    language: str
    own: float
    peers: dict[str, float]

    @property
    def best(self) -> str:
        """The best peer."""
        return max(self.peers, key=self.peers.__getitem__)

    @property
    def difference(self) -> float:
        """Difference to the best peer; negative if that is better."""
        return self.own - self.peers[self.best]

    @property
    def good(self) -> bool:
        """Whether the difference is within the limit."""
        return self.difference >= -ALLOWED_MORE.get(self.corpus, ALLOWED)


@dataclass(frozen=True)
class Speed:
    """MB/s on new words and on seen words, by side."""

    corpus: str
    language: str
    megabytes: float
    sides: dict[str, tuple[float, float]]


def compare(corpus: Corpus, own: float, python: Path) -> Comparison:
    """Measure the peers on a corpus.

    Args:
        corpus: One of `LANGUAGES`.
        own: This project's nDCG@10.
        python: The Python of the peers' environment.
    """
    language = LANGUAGES[corpus.name]
    documents, queries = [*corpus.documents.values()], [*corpus.queries.values()]
    seen = _peers(python, "quality", language=language, documents=documents, queries=queries)
    ids = [*corpus.documents]
    figures = {
        name: ndcg(
            corpus,
            {
                query: [ids[place] for place in places]
                for query, places in zip(corpus.queries, rankings, strict=True)
            },
        )
        for name, rankings in seen.items()
    }
    return Comparison(corpus.name, language, own, figures)


def measure_speed(corpus: Corpus, python: Path) -> Speed:
    """Measure how fast each side encodes a corpus; the best of rounds in turn."""
    texts = [*corpus.documents.values()]
    language = LANGUAGES[corpus.name]
    rounds: dict[str, list[Sequence[float]]] = {}
    for _ in range(ROUNDS):
        sides = {
            "this project": in_new_process(_own_speed, texts),
            **_peers(python, "speed", language=language, documents=texts),
        }
        for name, speeds in sides.items():
            rounds.setdefault(name, []).append(speeds)
    return Speed(
        corpus.name,
        language,
        sum(len(text.encode()) for text in texts) / 1e6,
        {
            name: (max(first for first, _ in speeds), max(second for _, second in speeds))
            for name, speeds in rounds.items()
        },
    )


def _own_speed(texts: list[str]) -> tuple[float, float]:
    encoder = BM25Encoder()
    return megabytes_per_second(lambda given: [encoder.encode_document(x) for x in given], texts)


def _peers(python: Path, which: str, **given: Any) -> dict[str, Any]:
    """Run the peers in their environment and return what they found."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        given_file, seen = Path(folder) / "given.json", Path(folder) / "seen.json"
        given_file.write_text(json.dumps(given), encoding="utf-8")
        done = subprocess.run(
            [python, "-m", "benchmarks.peers.bm25", which, given_file, seen],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{done.stderr}\nThe peers failed in {python}; their output is above.")
        content: dict[str, Any] = json.loads(seen.read_text(encoding="utf-8"))
        return content


def failures(rows: Iterable[Comparison]) -> list[str]:
    """List the corpora where a peer is better by more than the limit."""
    return [
        f"{row.corpus}: {row.own:.4f}, {row.best} {row.peers[row.best]:.4f}, difference "
        f"{row.difference:+.4f}"
        for row in rows
        if not row.good
    ]


def table(rows: Sequence[Comparison]) -> str:
    """Write the comparisons as a Markdown table."""
    peers = [*rows[0].peers]
    lines = [["corpus", "language", "this project", *peers, "difference to the best"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        figures = [
            f"**{row.peers[name]:.3f}**" if name == row.best else f"{row.peers[name]:.3f}"
            for name in peers
        ]
        missed = "" if row.good else " MISSED"
        lines.append(
            [row.corpus, row.language, f"{row.own:.3f}", *figures, f"{row.difference:+.4f}{missed}"]
        )
    return _markdown(lines)


def speed_table(rows: Sequence[Speed]) -> str:
    """Write the speeds as a Markdown table."""
    sides = [*rows[0].sides] if rows else []
    lines = [["corpus", "language", "MB", *(f"{side}, MB/s" for side in sides)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        figures = [
            f"{first:.1f} / {second:.1f}" for first, second in map(row.sides.__getitem__, sides)
        ]
        lines.append([row.corpus, row.language, f"{row.megabytes:.2f}", *figures])
    return _markdown(lines)


def _markdown(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
