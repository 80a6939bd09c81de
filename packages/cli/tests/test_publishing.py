"""When an index in a folder is published, and what is in it then."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.index import Index
from qwen3_rag_cli.places import Place
from qwen3_rag_hybrid import QdrantEdgeStore


def published(store: Path) -> list[str]:
    return sorted(os.listdir(store / "generations"))


def test_a_run_without_changes_publishes_nothing(cli: Any, notes: Path, indexed: Path) -> None:
    assert published(indexed) == ["1"]

    cli.index(notes, "--store", indexed)
    assert published(indexed) == ["1"]

    (notes / "new.md").write_text("# New\n")
    cli.index(notes, "--store", indexed)
    assert published(indexed) == ["2"]
    assert cli.run("remove", notes / "new.md", "--store", indexed).code == 0
    assert published(indexed) == ["3"]
    assert sorted(os.listdir(indexed)) == [".gitignore", "generations", "lock"]


def test_an_index_of_an_earlier_release_is_searched_and_published_by_the_next_run(
    cli: Any, notes: Path, indexed: Path
) -> None:
    content, hits = cli.content(indexed), cli.hits("roof", indexed)
    cli.unpublish(indexed)
    assert (indexed / "collection").exists()

    assert cli.hits("roof", indexed) == hits
    assert not (indexed / "generations").exists()
    assert cli.index(notes, "--store", indexed)["embedded"] == 0

    assert sorted(os.listdir(indexed)) == [".gitignore", "generations", "lock"]
    assert cli.content(indexed) == content
    assert cli.hits("roof", indexed) == hits


def test_a_long_run_publishes_whole_files_on_the_way(
    cli: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.made(tmp_path / "tree", 12)
    store = tmp_path / "index"
    cli.index(tmp_path / "tree", "--store", tmp_path / "whole", *cli.models)
    whole = Counter(id_.split("#")[0] for id_ in cli.content(tmp_path / "whole"))
    seen = []
    publish = Index.publish

    def publish_and_look(index: Index) -> None:
        publish(index)
        with Index(Place.of(store)) as reader:
            files = Counter(str(point.document.id).split("#")[0] for point in reader.store.scan())
            assert files.keys() == reader.manifest.files().keys()
            assert files == {path: whole[path] for path in files}
            seen.append(len(files))

    monkeypatch.setattr(Index, "publish", publish_and_look)
    monkeypatch.setattr("qwen3_rag_cli.indexing.INTERVAL", 0.0)
    monkeypatch.setattr("qwen3_rag_cli.pace.SHARE", 1e9)

    cli.index(tmp_path / "tree", "--store", store, *cli.models)

    assert seen == [*range(1, 13), 12]


def test_chunks_are_marked_clean_once_they_are_on_the_disk(
    cli: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.made(tmp_path / "tree", 5)
    dirty: list[int] = []
    flush = QdrantEdgeStore.flush
    opened: list[Index] = []
    initialise = Index.__init__

    def remembered(index: Index, *arguments: Any, **options: Any) -> None:
        initialise(index, *arguments, **options)
        opened.append(index)

    def count_dirty() -> int:
        manifest = opened[-1].manifest
        digests = [digest for path in manifest.paths() for digest in manifest.chunks(path).values()]
        return digests.count(None)

    def counted(store: QdrantEdgeStore) -> None:
        before = count_dirty()
        flush(store)
        assert count_dirty() == before
        dirty.append(before)

    monkeypatch.setattr(Index, "__init__", remembered)
    monkeypatch.setattr(QdrantEdgeStore, "flush", counted)
    monkeypatch.setattr("qwen3_rag_cli.indexing.GROUP", 4)

    summary = cli.index(tmp_path / "tree", "--store", tmp_path / "index", *cli.models)

    assert sum(dirty) == summary["embedded"] > 4


def test_doctor_and_search_work_while_another_process_writes(
    cli: Any, notes: Path, indexed: Path
) -> None:
    with Index(Place.of(indexed), create=True) as writer:
        writer.manifest.mark_dirty([("notes/new.md#0", "notes/new.md")])
        said = cli.run("doctor", "--store", indexed, "--no-measure", "--json")
        assert said.code == 0
        assert said.json["index"]["state"] == "sound"
        assert str(cli.embedding) in said.json["models"]["embedding"]
        assert cli.hits("roof", indexed)
        refused = cli.run("index", notes, "--store", indexed)
    assert refused.code == 3
    assert "--wait SECONDS" in refused.err
    assert cli.index(notes, "--store", indexed)["unchanged"] == 3
