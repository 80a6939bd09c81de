from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.manifest import Manifest
from qwen3_rag_hybrid import QdrantEdgeStore


def test_index_holds_every_chunk_with_its_place(cli: Any, indexed: Path) -> None:
    content = cli.content(indexed)

    assert set(content) == {
        "notes/deep/diary.txt#0",
        "notes/deep/sum.py#0",
        "notes/roof.md#0",
        "notes/roof.md#1",
        "notes/roof.md#2",
    }
    text, payload, dense, sparse = content["notes/roof.md#1"]
    assert text == "Roof\n\n## Decision\n\nAda decided in May."
    assert payload == {
        "path": "notes/roof.md",
        "kind": "markdown",
        "heading": "Roof > Decision",
        "line": 5,
        "end_line": 7,
    }
    assert dense
    assert sparse


def test_second_run_embeds_nothing(cli: Any, notes: Path, indexed: Path) -> None:
    before = cli.content(indexed)

    summary = cli.index(notes, "--store", indexed)

    assert (summary["indexed"], summary["unchanged"], summary["embedded"]) == (0, 3, 0)
    assert cli.content(indexed) == before


def test_second_run_loads_no_torch(cli: Any, notes: Path, indexed: Path) -> None:
    code = (
        "import atexit, sys\nfrom qwen3_rag_cli.app import app\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        f"app(['index', {str(notes)!r}, '--store', {str(indexed)!r}, '-q'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "False\n", done.stderr


def test_touching_a_file_without_changing_it_embeds_nothing(
    cli: Any, notes: Path, indexed: Path
) -> None:
    os.utime(notes / "roof.md", (1, 1))

    assert cli.index(notes, "--store", indexed)["embedded"] == 0


def test_changing_a_file_embeds_its_changed_chunks_only(
    cli: Any, notes: Path, indexed: Path
) -> None:
    page = notes / "roof.md"
    page.write_text(page.read_text().replace("Nine", "Ten"))

    summary = cli.index(notes, "--store", indexed)

    assert (summary["indexed"], summary["embedded"], summary["chunks"]) == (1, 1, 5)
    assert "Ten thousand." in cli.content(indexed)["notes/roof.md#2"][0]


def test_a_file_that_became_shorter_leaves_no_chunks_behind(
    cli: Any, notes: Path, indexed: Path
) -> None:
    (notes / "roof.md").write_text("# Roof\n\nGone with the wind.\n")

    cli.index(notes, "--store", indexed)

    assert [id_ for id_ in cli.content(indexed) if "roof" in id_] == ["notes/roof.md#0"]


def test_deleted_and_pruned_files_leave_the_index(cli: Any, notes: Path, indexed: Path) -> None:
    (notes / "deep" / "diary.txt").unlink()

    summary = cli.index(notes, "--store", indexed, "--exclude", "*.py", "--prune")

    assert summary["removed"] == 2
    assert {id_.split("#")[0] for id_ in cli.content(indexed)} == {"notes/roof.md"}


def test_an_emptied_folder_empties_the_index(cli: Any, notes: Path, indexed: Path) -> None:
    for path in [path for path in notes.rglob("*") if path.is_file()]:
        path.unlink()

    summary = cli.index(notes, "--store", indexed)

    assert summary["removed"] == 3
    assert cli.content(indexed) == {}


def test_files_outside_the_given_paths_stay(cli: Any, notes: Path, indexed: Path) -> None:
    other = notes.parent / "other"
    other.mkdir()
    (other / "new.md").write_text("# New\n\nPage.\n")

    summary = cli.index(other, "--store", indexed)

    assert (summary["removed"], summary["chunks"]) == (0, 6)


def test_an_updated_index_finds_what_a_new_one_finds(
    cli: Any, notes: Path, indexed: Path, tmp_path: Path
) -> None:
    (notes / "roof.md").write_text("# Roof\n\nBlue now.\n\n## Paint\n\nAda bought red paint.\n")
    (notes / "deep" / "sum.py").unlink()
    cli.index(notes, "--store", indexed)

    cli.index(notes, "--store", tmp_path / "fresh", *cli.models)

    for query in ("red roof", "who bought paint?"):
        updated, fresh = (cli.hits(query, store) for store in (indexed, tmp_path / "fresh"))
        assert [hit["id"] for hit in updated] == [hit["id"] for hit in fresh]
        for one, other in zip(updated, fresh, strict=True):
            for name in one["ranks"]:
                assert one["ranks"][name]["score"] == pytest.approx(
                    other["ranks"][name]["score"], abs=1e-5
                )


def test_other_chunk_sizes_cut_everything_anew_and_are_remembered(
    cli: Any, notes: Path, indexed: Path
) -> None:
    (notes / "long.txt").write_text("A sentence of some words. " * 60)
    cli.index(notes, "--store", indexed)

    small = cli.index(notes, "--store", indexed, "--chunk-tokens", "32", "--overlap", "4")
    again = cli.index(notes, "--store", indexed)

    assert small["indexed"] == 4
    assert small["chunks"] > 6
    assert (again["indexed"], again["chunks"]) == (0, small["chunks"])


def test_a_lost_collection_is_made_again(cli: Any, notes: Path, indexed: Path) -> None:
    before = cli.content(indexed)
    cli.unpublish(indexed)
    shutil.rmtree(indexed / "collection")

    summary = cli.index(notes, "--store", indexed)

    assert summary["embedded"] == 5
    assert cli.content(indexed) == before


def test_chunks_the_manifest_does_not_know_are_taken_out(
    cli: Any, notes: Path, indexed: Path
) -> None:
    before = cli.content(indexed)
    cli.unpublish(indexed)
    manifest = Manifest(indexed / "manifest.sqlite3")
    manifest.forget(["notes/deep/diary.txt#0"])
    manifest.close()

    summary = cli.index(notes, "--store", indexed)

    assert summary["embedded"] == 1
    assert cli.content(indexed) == before


def test_an_index_of_the_first_format_is_searched_and_updated_without_embedding_it_again(
    cli: Any, notes: Path, indexed: Path
) -> None:
    before, hits = cli.content(indexed), cli.hits("Who decided?", indexed)
    cli.unpublish(indexed)
    with closing(QdrantEdgeStore(indexed)) as collection:
        record, points = collection.record(), list(collection.scan(vectors=True))
    shutil.rmtree(indexed / "collection")
    with closing(QdrantEdgeStore(indexed)) as collection:
        assert record is not None
        collection.create(replace(record, format=1))
        collection.upsert(points)
    shard = (indexed / "collection" / "shard" / "edge_config.json").read_text(encoding="utf-8")
    assert list(json.loads(shard)["sparse_vectors"]) == ["lexical"]

    assert cli.hits("Who decided?", indexed) == hits
    (notes / "new.md").write_text("# New\n\nBob decided in June.\n")
    assert cli.index(notes, "--store", indexed)["embedded"] == 1
    ranks = {hit["id"]: hit["ranks"] for hit in cli.hits("Bob", indexed)}
    assert ranks["notes/new.md#0"]["bm25"]["rank"] == 1
    assert {id_: cli.content(indexed)[id_] for id_ in before} == before


def test_an_index_keeps_its_vector_size(cli: Any, notes: Path, tmp_path: Path) -> None:
    store = tmp_path / "index"
    cli.index(notes, "--store", store, *cli.models, "--dim", "32")
    (notes / "new.md").write_text("# New\n\nPage.\n")

    assert cli.index(notes, "--store", store)["embedded"] == 1
    assert len(cli.hits("roof", store)) == 6


def test_milvus_documentation_is_indexed_once(cli: Any, corpus: Any, tmp_path: Path) -> None:
    store = tmp_path / "index"

    first = cli.index(corpus.milvus(), "--store", store, *cli.models)
    second = cli.index(corpus.milvus(), "--store", store)

    assert first["indexed"] == 4
    assert first["embedded"] > 50
    assert (second["indexed"], second["embedded"]) == (0, 0)


def _check_tree(cli: Any, corpus: Any, folder: Path, count: int) -> None:
    languages = ["fastapi.en", "haystack_docs.en", "hf_course.ko", "pingcap_docs.zh", "cpp_docs.ko"]
    assert corpus.tree(folder / "tree", count, languages) == count
    store = folder / "index"

    first = cli.index(folder / "tree", "--store", store, *cli.models)
    second = cli.index(folder / "tree", "--store", store)
    touched = max((folder / "tree").rglob("*.md"), key=lambda path: path.stat().st_size)
    key = touched.relative_to(folder).as_posix()
    own = sum(id_.startswith(f"{key}#") for id_ in cli.content(store))
    touched.write_text("Changed at the top.\n\n" + touched.read_text(encoding="utf-8"))
    third = cli.index(folder / "tree", "--store", store)

    assert first["indexed"] == count
    assert (second["indexed"], second["embedded"]) == (0, 0)
    assert third["indexed"] == 1
    assert own <= third["embedded"] <= own + 1


def test_tree_of_documentation_embeds_changes_only(cli: Any, corpus: Any, tmp_path: Path) -> None:
    _check_tree(cli, corpus, tmp_path, 25)


@pytest.mark.slow
def test_tree_of_2000_files_embeds_changes_only(cli: Any, corpus: Any, tmp_path: Path) -> None:
    _check_tree(cli, corpus, tmp_path, 2000)
