"""Whether the beginnings of words lose precision in a large collection: part of `lexical`.

The paragraphs of squad_dev are searched among 100,000 other English paragraphs, by the encoder's
terms and by stems alone.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmarks.corpora import Corpus, bm25, ndcg, read
from benchmarks.lexical_variants import in_new_process, stems_alone
from qwen3_rag.lexical import mean_length

SEARCHED = "squad_dev_v1.1"
OTHERS = 100_000

LARGEST_LOSS = 0.01
"""Maximum loss of nDCG@10 against stems alone."""

_SUFFIXES = {".md", ".mdx", ".rst", ".txt"}
_LEAST_WORDS = 10
_SHARED_WORDS = 12
"""A paragraph that shares so many words in a row with the searched ones is left out."""


@dataclass(frozen=True)
class Quality:
    """What one kind of terms finds."""

    ndcg: float
    mean_length: float


@dataclass(frozen=True)
class Scale:
    """The quality by kind of terms, in one size of the collection."""

    others: int
    terms: Quality
    stems: Quality

    @property
    def loss(self) -> float:
        """Loss of nDCG@10 by the beginnings of words; negative if they find more."""
        return self.stems.ndcg - self.terms.ndcg


def measure(data: Path, texts: Path) -> list[Scale]:
    """Measure the collection alone and among the other paragraphs.

    Args:
        data: Folder with `corpora/` and `text/`.
        texts: Folder with more English texts, for as many paragraphs as are missing.
    """
    corpus = read(data / "corpora" / SEARCHED)
    others = [*islice(_apart(paragraphs(data, texts), corpus), OTHERS)]
    if len(others) < OTHERS:
        sys.exit(
            f"--scale needs {OTHERS:,} paragraphs, and there are {len(others):,}. Give a folder "
            f"with more English texts ({', '.join(sorted(_SUFFIXES))}) than {str(texts)!r}."
        )
    among = {f"other-{place}": text for place, text in enumerate(others)}
    larger = replace(corpus, documents={**corpus.documents, **among})
    return [
        Scale(
            len(searched.documents) - len(corpus.documents),
            terms=in_new_process(_quality, searched),
            stems=in_new_process(_quality_of_stems, searched),
        )
        for searched in (corpus, larger)
    ]


def paragraphs(data: Path, texts: Path) -> Iterator[str]:
    """Yield the paragraphs of tydiqa_en_dev, of the English `text/`, and of a folder of texts."""
    yield from read(data / "corpora" / "tydiqa_en_dev").documents.values()
    for path in sorted((data / "text").glob("*.en.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield from split(json.loads(line)["text"])
    for path in sorted(texts.rglob("*")):
        if path.suffix in _SUFFIXES and path.is_file():
            yield from split(path.read_text(encoding="utf-8", errors="replace"))


def split(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text that have at least ten words."""
    for paragraph in re.split(r"\n\s*\n", text):
        if len(re.findall(r"[^\W\d_]{2,}", paragraph)) >= _LEAST_WORDS:
            yield paragraph.strip()


def _apart(found: Iterable[str], corpus: Corpus) -> Iterator[str]:
    """Leave out paragraphs that occur twice, or share a passage with the corpus."""
    passages = {passage for text in corpus.documents.values() for passage in _passages(text)}
    seen: set[str] = set()
    for text in found:
        if text not in seen and passages.isdisjoint(_passages(text)):
            seen.add(text)
            yield text


def _passages(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return zip(*(words[start:] for start in range(_SHARED_WORDS)), strict=False)


def _quality(corpus: Corpus) -> Quality:
    found = {query: [id_ for id_, _ in hits] for query, hits in bm25(corpus).items()}
    return Quality(ndcg(corpus, found), round(mean_length(corpus.documents.values()), 1))


def _quality_of_stems(corpus: Corpus) -> Quality:
    with stems_alone():
        return _quality(corpus)


def failures(rows: Iterable[Scale]) -> list[str]:
    """List the limits that were missed."""
    return [
        f"{SEARCHED} among {row.others:,} others: the beginnings of words lose {row.loss:.4f}"
        for row in rows
        if row.loss > LARGEST_LOSS
    ]


def table(rows: Iterable[Scale]) -> str:
    """Write the rows as a Markdown table."""
    lines = [
        "| other paragraphs | nDCG@10 | stems alone | loss | terms | terms, stems alone |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.others:,} | {row.terms.ndcg:.4f} | {row.stems.ndcg:.4f} | {row.loss:+.4f} "
        f"| {row.terms.mean_length:.0f} | {row.stems.mean_length:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)
