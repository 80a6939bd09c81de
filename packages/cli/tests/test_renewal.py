"""An index with the BM25 terms of another release is renewed by `index`, without embedding."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rag.lexical import BM25Encoder, mean_length
from qwen3_rag_hybrid import QdrantEdgeStore

VERSION_1 = {"encoder_version": 1, "k1": 1.2, "b": 0.75, "avg_len": 256.0}


def age(cli: Any, store: Path) -> None:
    """Make an index one of version 1: its record, and other terms."""
    cli.unpublish(store)
    with closing(QdrantEdgeStore(store)) as collection:
        other = BM25Encoder().encode_document("terms of another version")
        points = list(collection.scan(vectors=True))
        collection.upsert([replace(point, sparse=other) for point in points])
    path = store / "collection" / "settings.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "encoder": VERSION_1}), encoding="utf-8")


def test_search_in_an_older_index_says_what_renews_it(cli: Any, indexed: Path) -> None:
    age(cli, indexed)

    said = cli.run("search", "roof", "--store", indexed)

    assert said.code == 3
    assert "Run `qwen3-rag index` with the same paths" in " ".join(said.err.split())


def test_index_renews_an_older_index_and_embeds_nothing(
    cli: Any, notes: Path, indexed: Path
) -> None:
    before = cli.content(indexed)
    age(cli, indexed)
    assert cli.content(indexed) != before

    summary = cli.index(notes, "--store", indexed)

    assert (summary["renewed"], summary["embedded"], summary["unchanged"]) == (5, 0, 3)
    assert cli.content(indexed) == before
    assert cli.index(notes, "--store", indexed)["renewed"] == 0


def test_the_summary_tells_of_the_renewal(cli: Any, notes: Path, indexed: Path) -> None:
    age(cli, indexed)

    said = cli.run("index", notes, "--store", indexed)

    assert "Renewed the BM25 terms of 5 chunks" in " ".join(said.out.split())


def test_doctor_names_the_command_that_renews(cli: Any, indexed: Path) -> None:
    age(cli, indexed)

    said = cli.run("doctor", "--store", indexed)

    text = " ".join(said.out.split())
    assert "Run `qwen3-rag index` with the same paths" in text
    assert "renew_bm25" not in text


def test_a_new_index_is_made_for_the_length_of_its_chunks(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.txt").write_text(f"error {number} of the disk", encoding="utf-8")

    cli.index(folder, "--store", tmp_path / "index", *cli.models)

    with closing(QdrantEdgeStore(tmp_path / "index")) as collection:
        record = collection.record()
        texts = [point.document.text for point in collection.scan()]
    assert record is not None
    assert len(texts) == 300
    assert record.encoder["avg_len"] == round(mean_length(texts), 1)
