"""Which index a command uses, and how paths are read and shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

LONG = "x" * 5_000


ALL = [
    "notes/Sko\u0308ne.md",
    "notes/deep/diary.txt",
    "notes/deep/sum.py",
    "notes/roof.md",
]


@pytest.fixture
def project(cli: Any, notes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder around `notes`, with an index in the usual place."""
    monkeypatch.chdir(notes.parent)
    cli.index("notes", *cli.models)
    return notes.parent


def test_the_nearest_index_above_is_used_and_paths_are_those_from_here(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "notes" / "deep")

    shown = cli.run("search", "It rained", "--rerank", "0").out
    found = cli.run("search", "It rained", "--rerank", "0", "--json").json
    listed = cli.run("list", ".", "--json").json

    assert "diary.txt:1" in shown
    assert "notes/deep" not in shown
    assert "../roof.md:5-7" in shown
    assert {hit["path"] for hit in found["hits"]} > {"notes/roof.md", "notes/deep/diary.txt"}
    assert listed["base"] == found["base"] == str(project)
    assert [file["path"] for file in listed["files"]] == [
        "notes/deep/diary.txt",
        "notes/deep/sum.py",
    ]


def test_indexing_below_an_index_adds_to_it(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "notes" / "deep")
    Path("new.md").write_text("# New\n", encoding="utf-8")

    summary = cli.index("new.md")

    assert summary["store"] == str(project / ".qwen3-rag")
    assert summary["indexed"] == 1
    assert not Path(".qwen3-rag").exists()


def test_filters_and_removals_name_paths_from_here(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "notes" / "deep")

    hits = cli.run("search", "anything", "--rerank", "0", "--filter", "path=..", "--json").json
    one = cli.run("search", "x", "--rerank", "0", "--filter", "path=sum.py", "--json").json
    removed = cli.run("remove", "../roof.md", "--json").json

    assert len(hits["hits"]) == 5
    assert [hit["path"] for hit in one["hits"]] == ["notes/deep/sum.py"]
    assert removed["removed"] == ["notes/roof.md"]


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX systems")
@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("notes\\Sk\u00f6ne.md", ["notes/Sko\u0308ne.md"]),
        ("Sk\u00f6ne.md", ["notes/Sko\u0308ne.md"]),
        ("deep\\*.py", ["notes/deep/sum.py"]),
        (".\\deep\\sum.py", ["notes/deep/sum.py"]),
        ("{project}/notes/roof.md", ["notes/roof.md"]),
        ("{project}/notes/deep/", ["notes/deep/diary.txt", "notes/deep/sum.py"]),
        ("{project}/notes/*.txt", ["notes/deep/diary.txt"]),
        ("{link}/notes/roof.md", ["notes/roof.md"]),
        ("deep/*.txt", ["notes/deep/diary.txt"]),
        *((folder, ALL) for folder in ("..", "{project}", "{link}/")),
    ],
)
def test_other_ways_to_write_a_path_name_the_same_file(
    cli: Any,
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    found: list[str],
) -> None:
    (project / "notes" / "Sko\u0308ne.md").write_text("# Sk\u00e5ne\n", encoding="utf-8")
    cli.index("notes")
    link = tmp_path_factory.mktemp("links") / "project"
    link.symlink_to(project)
    monkeypatch.chdir(project / "notes")

    listed = cli.run("list", given.format(project=project, link=link), "--json")

    assert listed.code == 0, listed.err
    assert [file["path"] for file in listed.json["files"]] == found


@pytest.mark.parametrize("folder", ["/", "../.."])
def test_a_folder_above_the_index_does_not_stand_for_all_of_it(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(project / "notes")

    refused = cli.run("remove", folder)

    assert refused.code != 0
    assert "No indexed file matches" in refused.err
    assert cli.run("list", "--json").json["files"]


def test_without_an_index_above_one_is_made_here(
    cli: Any, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)

    assert cli.index("deep", *cli.models)["store"] == str(notes / ".qwen3-rag")


def test_from_elsewhere_paths_are_those_of_the_index(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")

    assert "notes/roof.md" in cli.run("list", "--store", project / ".qwen3-rag").out


@pytest.mark.skipif(os.name != "posix", reason="owners of POSIX systems")
def test_another_users_index_above_is_used_only_when_named(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: mine + 1)
    assert cli.run("list").code == 0  # the current folder is the user's choice

    monkeypatch.chdir(project / "notes")
    said = cli.run("list")

    assert said.code == 2
    assert "belongs to another user" in said.err
    assert cli.run("list", "--store", project / ".qwen3-rag").code == 0


@pytest.mark.parametrize("path", ["~nosuchuser/x", LONG])
@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "roof", "--store"],
        ["list", "--store"],
        ["index"],
        ["index", ".", "--store"],
        ["cache", "info"],
        ["search", "roof", "--filter"],
    ],
)
def test_paths_that_cannot_be_are_input_errors(
    cli: Any, project: Path, arguments: list[str], path: str
) -> None:
    prefix = "path=" if arguments[-1] == "--filter" else ""

    said = cli.run(*arguments, f"{prefix}{path}")

    assert said.code == 2, said.err
    assert said.err.startswith("Error: ")


def test_a_model_of_an_unknown_user_is_told_as_a_model(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    said = cli.run("index", notes, "--store", tmp_path / "index", "--model", "~nosuchuser/x")

    assert said.code == 4
    assert "~nosuchuser/x" in said.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
@pytest.mark.parametrize("command", [["list"], ["index", "."], ["list", "--store", "milvus://h/n"]])
def test_a_deleted_working_folder_is_an_input_error(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    said = cli.run(*command)

    assert said.code == 2
    assert "no longer exists" in said.err


def test_a_name_that_is_an_address_is_refused_and_not_repeated(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    store = tmp_path / "index"

    said = cli.run("index", notes, "--store", store, "--model", "https://me:hidden@host/m")

    assert said.code == 2
    assert "hidden" not in said.err
    assert not store.exists()
