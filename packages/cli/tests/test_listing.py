from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.manifest import Manifest


def _listed(cli: Any, store: Path | str, *arguments: str) -> dict[str, int]:
    said = cli.run("list", *arguments, "--store", store, "--json")
    assert said.code == 0, said.err
    return {file["path"]: file["chunks"] for file in said.json["files"]}


def test_all_files_are_listed_with_kind_and_chunks(cli: Any, indexed: Path) -> None:
    said = cli.run("list", "--store", indexed)

    assert said.code == 0
    assert [" ".join(line.split()) for line in said.out.splitlines()] == [
        "chunks kind file",
        "1 text notes/deep/diary.txt",
        "1 code notes/deep/sum.py",
        "3 markdown notes/roof.md",
        "3 files, 5 chunks.",
    ]
    assert _listed(cli, indexed) == {
        "notes/deep/diary.txt": 1,
        "notes/deep/sum.py": 1,
        "notes/roof.md": 3,
    }


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["notes/deep"], {"notes/deep/diary.txt", "notes/deep/sum.py"}),
        (["*.py", "notes/roof.md"], {"notes/deep/sum.py", "notes/roof.md"}),
    ],
)
def test_files_folders_and_patterns_are_listed(
    cli: Any, indexed: Path, paths: list[str], expected: set[str]
) -> None:
    assert set(_listed(cli, indexed, *paths)) == expected


def test_a_file_of_an_interrupted_run_is_listed_as_incomplete(cli: Any, indexed: Path) -> None:
    cli.unpublish(indexed)
    with closing(Manifest(indexed / "manifest.sqlite3")) as manifest:
        manifest.mark_dirty([("notes/roof.md#0", "notes/roof.md")])

    files = cli.run("list", "--store", indexed, "--json").json["files"]
    said = cli.run("list", "--store", indexed)

    assert [file["path"] for file in files if not file["complete"]] == ["notes/roof.md"]
    assert said.out.count("incomplete") == 1
    assert cli.run("info", "--store", indexed, "--json").json["incomplete"] == ["notes/roof.md"]


def test_removed_files_leave_the_index_and_stay_on_disk(
    cli: Any, notes: Path, indexed: Path
) -> None:
    (notes / "deep" / "sum.py").unlink()

    said = cli.run("remove", "notes/deep", "--store", indexed, "--json")

    assert said.json["removed"] == ["notes/deep/diary.txt", "notes/deep/sum.py"]
    assert said.json["chunks"] == 2
    assert {id_.split("#")[0] for id_ in cli.content(indexed)} == {"notes/roof.md"}
    assert (notes / "deep" / "diary.txt").read_text() == "It rained all day.\n"
    assert cli.index(notes, "--store", indexed)["indexed"] == 1


def test_removing_what_is_not_indexed_removes_nothing(cli: Any, indexed: Path) -> None:
    said = cli.run("remove", "notes/roof.md", "notes/cellar.md", "--store", indexed)

    assert said.code == 2
    assert "notes/cellar.md" in said.err
    assert len(cli.content(indexed)) == 5


def test_info_tells_what_is_in_an_index_and_how_it_was_made(cli: Any, indexed: Path) -> None:
    found = cli.run("info", "--store", indexed, "--json").json
    told = cli.run("info", "--store", indexed).out

    assert found["store"] == str(indexed)
    assert (found["files"], found["chunks"], found["dim"]) == (3, 5, 64)
    assert found["kinds"] == {"code": 1, "markdown": 1, "text": 1}
    assert (found["model"], found["reranker"]) == (str(cli.embedding), str(cli.reranking))
    assert (found["chunk_tokens"], found["overlap"]) == (384, 48)
    assert 10_000 < found["bytes"] < 10_000_000
    assert "384 tokens, overlap 48" in told
    assert "just now" in told


@pytest.mark.parametrize("command", [["list"], ["remove", "x"], ["info"]])
def test_without_an_index_the_error_says_how_to_make_one(
    cli: Any, tmp_path: Path, command: list[str]
) -> None:
    said = cli.run(*command, "--store", tmp_path / "none", "--json")

    error = json.loads(said.err)["error"]
    assert (said.code, error["type"], error["code"]) == (3, "StoreError", 3)
    assert "qwen3-rag index" in error["message"]


def test_files_in_a_collection_are_listed_and_removed_too(
    cli: Any, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    store = f"milvus:{tmp_path}/milvus.db/notes"
    monkeypatch.chdir(notes)
    cli.index(".", "--store", store, *cli.models)

    removed = cli.run("remove", "deep/sum.py", "--store", store, "--json").json
    found = cli.run("info", "--store", store, "--json").json

    assert removed["removed"] == ["notes/deep/sum.py"]
    assert _listed(cli, store, "notes/deep") == {"notes/deep/diary.txt": 1}
    assert (found["files"], found["chunks"]) == (2, 4)
