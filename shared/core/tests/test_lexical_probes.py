"""Identifiers and spellings: each query finds its document and ranks it above a decoy."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from math import log
from pathlib import Path

from qwen3_rag.lexical import BM25Encoder

PROBES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "lexical_probes.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


@cache
def scores() -> list[tuple[str, float, float]]:
    """The kind of each probe, and the BM25 scores of its document and its decoy."""
    encoder = BM25Encoder()
    texts = {probe[place] for probe in PROBES for place in ("document", "decoy")}
    documents = {text: encoder.encode_document(text).as_dict() for text in texts}
    containing = Counter(index for vector in documents.values() for index in vector)

    def score(query: str, text: str) -> float:
        weights = encoder.encode_query(query).as_dict()
        return sum(
            weight
            * documents[text][index]
            * log((len(texts) - containing[index] + 0.5) / (containing[index] + 0.5) + 1)
            for index, weight in weights.items()
            if index in documents[text]
        )

    return [
        (p["kind"], score(p["query"], p["document"]), score(p["query"], p["decoy"])) for p in PROBES
    ]


def test_there_are_at_least_eight_probes_of_each_kind() -> None:
    assert min(Counter(probe["kind"] for probe in PROBES).values()) >= 8
    assert len(PROBES) >= 120


def test_probes_are_found_and_ranked_above_their_decoys() -> None:
    missed = [kind for kind, document, _ in scores() if not document]
    behind = [kind for kind, document, decoy in scores() if document <= decoy + 1e-9]

    assert len(missed) <= 0.05 * len(PROBES), missed
    assert len(behind) <= 0.15 * len(PROBES), behind
