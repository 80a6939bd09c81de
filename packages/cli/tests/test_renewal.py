"""An index with the BM25 terms of another release is renewed by `index`, without embedding."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import QdrantEdgeStore

VERSION_1 = {"encoder_version": 1, "k1": 1.2, "b": 0.75, "avg_len": 256.0}


def age(store: Path) -> None:
    """Make an index one of version 1: its record, and other terms."""
    with closing(QdrantEdgeStore(store)) as collection:
        other = BM25Encoder().encode_document("terms of another version")
        points = list(collection.scan(vectors=True))
        collection.upsert([replace(point, sparse=other) for point in points])
    path = store / "collection" / "settings.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "encoder": VERSION_1}), encoding="utf-8")


def test_search_in_an_older_index_says_what_renews_it(cli: Any, indexed: Path) -> None:
    age(indexed)

    said = cli.run("search", "roof", "--store", indexed)

    assert said.code == 3
    assert "Run `qwen3-rag index` with the same paths" in " ".join(said.err.split())


def test_index_renews_an_older_index_and_embeds_nothing(
    cli: Any, notes: Path, indexed: Path
) -> None:
    before = cli.content(indexed)
    age(indexed)
    assert cli.content(indexed) != before

    summary = cli.index(notes, "--store", indexed)

    assert (summary["renewed"], summary["embedded"], summary["unchanged"]) == (5, 0, 3)
    assert cli.content(indexed) == before
    assert cli.index(notes, "--store", indexed)["renewed"] == 0


def test_the_summary_tells_of_the_renewal(cli: Any, notes: Path, indexed: Path) -> None:
    age(indexed)

    said = cli.run("index", notes, "--store", indexed)

    assert "Renewed the BM25 terms of 5 chunks" in " ".join(said.out.split())
