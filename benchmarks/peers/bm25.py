"""The BM25 of Qdrant and of bm25s, each told the language: peers of `benchmarks.lexical`.

    python -m benchmarks.peers.bm25 {quality,speed} GIVEN SEEN

GIVEN is a JSON file with `language`, `documents` and, for the quality, `queries`. SEEN gets, by the
name of the peer, the places of the best documents per query, or two speeds in MB/s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import bm25s
import Stemmer
from qdrant_edge import (
    Bm25,
    Bm25Config,
    DisabledStemmer,
    SparseVector,
    StopwordsSet,
    TokenizerType,
)

from benchmarks.both_sides import Index, best, megabytes_per_second

K1 = {"bm25s": 1.5, "bm25s, k1 = 1.2": 1.2}
"""Its default, and the value of the others."""

# Snowball has no stemmer for these; bm25s has stop words for some languages only.
WITHOUT_STEMMER = {"bengali", "chinese", "korean"}
WITHOUT_STOP_WORDS = {"arabic", "bengali", "finnish", "greek"}


def qdrant_settings(language: str) -> dict[str, dict[str, Any]]:
    """Return the settings by name: both tokenizers, without and with the language named."""
    named: dict[str, Any] = {"language": language}
    if language == "korean":  # unknown to Qdrant
        named = {"stemmer": DisabledStemmer(), "stopwords": StopwordsSet()}
    word, multilingual = TokenizerType.Word, TokenizerType.Multilingual
    return {
        "Qdrant, word": {"tokenizer": word},
        "Qdrant, multilingual": {"tokenizer": multilingual},
        "Qdrant, word, language": {"tokenizer": word, **named},
        "Qdrant, multilingual, language": {"tokenizer": multilingual, **named},
    }


def qdrant_encoder(settings: Mapping[str, Any], documents: Sequence[str]) -> Bm25:
    """Make Qdrant's encoder, with the true mean length of the documents."""
    # With b = 0, a value is tf * (k + 1) / (tf + k), which gives the count back.
    vectors = embed(Bm25(Bm25Config(k=1000, b=0, **settings)), documents)
    terms = sum(
        round(1000 * value / (1001 - value)) for vector in vectors for value in vector.values
    )
    return Bm25(Bm25Config(avg_len=terms / len(documents), **settings))


def qdrant_rankings(
    settings: Mapping[str, Any], documents: Sequence[str], queries: Sequence[str]
) -> list[list[int]]:
    """Rank the documents for every query by Qdrant's vectors, exactly."""
    encoder = qdrant_encoder(settings, documents)
    index = Index([by_index(vector) for vector in embed(encoder, documents)])
    return [
        best(index.scores(by_index(encoder.embed_query(text))), above=0.0).tolist()
        for text in queries
    ]


def embed(encoder: Bm25, documents: Sequence[str]) -> list[SparseVector]:
    """Return the documents' vectors."""
    return [encoder.embed_document(text) for text in documents]


def by_index(vector: SparseVector) -> dict[int, float]:
    """Return the values of a vector by their indices."""
    return dict(zip(vector.indices, vector.values, strict=True))


def bm25s_tokens(language: str, texts: Sequence[str], ids: bool) -> Any:
    """Tokenize with the stop words and the stemmer of the language, where there are some."""
    return bm25s.tokenize(
        list(texts),
        stopwords=None if language in WITHOUT_STOP_WORDS else language,
        stemmer=None if language in WITHOUT_STEMMER else Stemmer.Stemmer(language),
        return_ids=ids,
        show_progress=False,
    )


def bm25s_index(language: str, documents: Sequence[str], k1: float) -> Any:
    """Index the documents; bm25s measures the mean length itself, and its `b` is 0.75."""
    index = bm25s.BM25(k1=k1)
    index.index(bm25s_tokens(language, documents, ids=True), show_progress=False)
    return index


def bm25s_rankings(
    language: str, documents: Sequence[str], queries: Sequence[str], k1: float
) -> list[list[int]]:
    """Rank the documents for every query by the scores of bm25s."""
    index = bm25s_index(language, documents, k1)
    found = []
    for tokens in bm25s_tokens(language, queries, ids=False):
        known = [token for token in tokens if token in index.vocab_dict]
        found.append(best(index.get_scores(known), above=0.0).tolist() if known else [])
    return found


def quality(language: str, documents: list[str], queries: list[str]) -> dict[str, Any]:
    """Return the rankings of every peer."""
    found = {
        name: qdrant_rankings(settings, documents, queries)
        for name, settings in qdrant_settings(language).items()
    }
    found |= {name: bm25s_rankings(language, documents, queries, k1) for name, k1 in K1.items()}
    return found


def speed(language: str, documents: list[str]) -> dict[str, Any]:
    """Return the speed of every peer that is told the language; that of bm25s is to index."""
    encoders: dict[str, Callable[[list[str]], object]] = {
        name: partial(embed, Bm25(Bm25Config(**settings)))
        for name, settings in qdrant_settings(language).items()
        if name.endswith("language")
    }
    encoders["bm25s"] = lambda texts: bm25s_index(language, texts, K1["bm25s"])
    return {name: megabytes_per_second(encode, documents) for name, encode in encoders.items()}


def main() -> None:
    """Read what is given, and write what the peers found."""
    which, given, seen = sys.argv[1:]
    content = json.loads(Path(given).read_text(encoding="utf-8"))
    found = quality(**content) if which == "quality" else speed(**content)
    Path(seen).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
