"""An index with the fingerprint that the first release recorded stays in use as it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag.integration import resolve_checkpoint
from qwen3_rag_cli.index import Index
from qwen3_rag_cli.places import Place


@pytest.fixture
def earlier(cli: Any, notes: Path, tmp_path: Path) -> Path:
    """An index, with the record and the files' settings as the first release wrote them."""
    store = tmp_path / "index"
    cli.index(notes, "--store", store, *cli.models)
    checkpoint = resolve_checkpoint(str(cli.embedding), "embedding")
    assert checkpoint.earlier_fingerprint not in (None, checkpoint.fingerprint)
    cli.unpublish(store)
    with Index(Place.of(store), create=True) as index:
        record = index.collection.record()
        assert record is not None
        assert record.fingerprint == checkpoint.fingerprint
        index.collection.write_record(
            dataclasses.replace(record, fingerprint=checkpoint.earlier_fingerprint)
        )
    manifest = next(store.glob("manifest*"))
    content = manifest.read_bytes()
    manifest.write_bytes(
        content.replace(
            checkpoint.fingerprint.encode(), (checkpoint.earlier_fingerprint or "").encode()
        )
    )
    return store


def test_it_is_searched_and_nothing_is_embedded_again(cli: Any, notes: Path, earlier: Path) -> None:
    assert cli.hits("roof", earlier)

    summary = cli.index(notes, "--store", earlier, *cli.models)

    assert (summary["indexed"], summary["unchanged"] > 0) == (0, True)


def test_a_checkpoint_with_words_for_documents_is_another_one(
    cli: Any, notes: Path, earlier: Path
) -> None:
    path = cli.embedding / "config_sentence_transformers.json"
    kept = path.read_text()
    path.write_text(json.dumps({"prompts": {"query": "", "document": "passage: "}}))
    try:
        found = cli.run("search", "roof", "--store", earlier)
    finally:
        path.write_text(kept)

    assert found.code == 3
    assert "Vectors of two models cannot be compared" in " ".join(found.err.split())
