from __future__ import annotations

import os
from pathlib import Path

import pytest

from qwen3_rag import InputError
from qwen3_rag_cli.files import find
from qwen3_rag_cli.places import Base
from qwen3_rag_cli.selection import Choice


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")


def _keys(
    folder: Path, *, include: list[str] | None = None, exclude: list[str] | None = None
) -> list[str]:
    choice = Choice(include or [], exclude or [])
    found = find([folder], base=Base(folder), choice=choice)
    return [file.key for file in found.files]


def test_markdown_text_and_code_are_found_and_tools_folders_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "b.md", "a/c.py", "a/README", "d.txt", "photo.png", "x.lock")
    _touch(tmp_path, ".git/e.md", "node_modules/f.js", ".hidden.md", "venv/g.py")

    assert _keys(tmp_path) == ["a/README", "a/c.py", "b.md", "d.txt"]


def test_include_replaces_and_exclude_removes(tmp_path: Path) -> None:
    _touch(tmp_path, "a.log", "deep/b.log", "c.md", "build/d.log")

    assert _keys(tmp_path, include=["*.log"]) == ["a.log", "build/d.log", "deep/b.log"]
    assert _keys(tmp_path, include=["*.log"], exclude=["build/"]) == ["a.log", "deep/b.log"]
    assert _keys(tmp_path, include=["deep/*"]) == ["deep/b.log"]


def test_a_named_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    _touch(tmp_path, "odd.xyz")

    found = find([tmp_path / "odd.xyz", tmp_path / "odd.xyz"], base=Base(tmp_path))

    assert [file.key for file in found.files] == ["odd.xyz"]


def test_files_elsewhere_have_absolute_keys(tmp_path: Path) -> None:
    _touch(tmp_path, "a/x.md")
    (tmp_path / "b").mkdir()

    [file] = find([tmp_path / "a"], base=Base(tmp_path / "b")).files

    assert file.key == (tmp_path / "a" / "x.md").as_posix()


def test_the_store_is_never_looked_into(tmp_path: Path) -> None:
    _touch(tmp_path, "index/x.md", "y.md")

    found = find([tmp_path], base=Base(tmp_path), leave_out=tmp_path / "index")

    assert [file.key for file in found.files] == ["y.md"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipes_and_names_that_are_no_text_are_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    odd = os.fsencode(tmp_path) + b"/\xff.md"
    try:
        with open(odd, "w", encoding="utf-8") as file:
            file.write("text")
    except OSError:
        pytest.skip("this file system takes valid names only")

    found = find([tmp_path], base=Base(tmp_path))

    assert not found.files
    assert sorted(entry.reason for entry in found.skipped) == [
        "has a name that is not valid UTF-8. Rename it",
        "is not a regular file",
    ]


def test_missing_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        find([tmp_path / "nowhere"], base=Base(tmp_path))
