"""`index --watch`: an index follows its files, whatever programs do to them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from qwen3_rag_cli.index import Index
from qwen3_rag_cli.indexing import Summary
from qwen3_rag_cli.places import Place
from qwen3_rag_cli.updating import Watched
from qwen3_rag_cli.watching import QUIET
from qwen3_rag_testkit.forks import Program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")


class Watch:
    """A process that watches, and the updates that it tells."""

    def __init__(self, process: Program) -> None:
        self._process = process

    def update(self) -> dict[str, Any]:
        """Wait for the next update."""
        assert self._process.stdout is not None
        return cast("dict[str, Any]", json.loads(self._process.stdout.readline()))

    def updates(self, name: str, wanted: int) -> None:
        """Wait for updates whose counts of something add up: a change may be seen in parts."""
        found = 0
        while found < wanted:
            found += self.update()[name]
        assert found == wanted

    def error(self) -> str:
        """Wait for the next error."""
        assert self._process.stderr is not None
        return cast("str", json.loads(self._process.stderr.readline())["error"]["message"])

    def end(self, name: str) -> int:
        self._process.send_signal(getattr(signal, name))
        return self._process.wait(60)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that one process watches in all tests, because it takes long to start."""
    folder = tmp_path_factory.mktemp("watched") / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "roof.md").write_text("# Roof\n\nThe roof is red.\n")
    (folder / "deep" / "diary.txt").write_text("It rained all day.\n")
    (folder / "deep" / "sum.py").write_text("def total(a, b):\n    return a + b\n")
    return folder


@pytest.fixture(scope="module")
def indexed(cli: Any, notes: Path) -> Path:
    """The index of `notes`."""
    store = notes.with_name("index")
    cli.index(notes, "--store", store, *cli.models)
    return store


@pytest.fixture(scope="module")
def watch(cli: Any, notes: Path, indexed: Path) -> Iterator[Watch]:
    """`notes`, watched."""
    with cli.start("index", notes, "--store", indexed, "--watch", "--json") as process:
        watching = Watch(process)
        assert watching.update()["unchanged"] == 3
        try:
            yield watching
        finally:
            process.kill()


def containing(cli: Any, word: str, store: Path) -> list[str]:
    """Search, and give the texts with a word; what else is found means nothing."""
    return [
        hit["text"]
        for hit in cli.hits(word, store, "--rerank", "0", "--limit", "50")
        if word in hit["text"]
    ]


def indexed_paths(cli: Any, store: Path) -> set[str]:
    files = cli.run("list", "--store", store, "--json").json["files"]
    return {file["path"] for file in files}


def paths(cli: Any, store: Path) -> set[str]:
    return {Path(path).name for path in indexed_paths(cli, store)}


def test_new_changed_and_deleted_files_are_followed(
    cli: Any, notes: Path, indexed: Path, watch: Watch
) -> None:
    before = paths(cli, indexed)
    (notes / "new.md").write_text("# New\n\nA zebra.\n")
    assert watch.update()["indexed"] == 1
    assert containing(cli, "zebra", indexed)

    (notes / "new.md").write_text("# New\n\nAn okapi.\n")
    assert watch.update()["indexed"] == 1
    assert containing(cli, "okapi", indexed)
    assert not containing(cli, "zebra", indexed)

    (notes / "new.md").unlink()
    assert watch.update()["removed"] == 1
    assert paths(cli, indexed) == before


def test_writing_by_renaming_as_editors_do_is_followed(
    cli: Any, notes: Path, indexed: Path, watch: Watch
) -> None:
    for number in range(3):
        temporary = notes / "4913~"
        temporary.write_text(f"# Roof\n\nVersion {number}.\n")
        temporary.replace(notes / "roof.md")
        update = watch.update()
        assert (update["indexed"], update["removed"]) == (1, 0)
        assert len(containing(cli, f"Version {number}", indexed)) == 1


def test_a_file_that_cannot_be_read_does_not_end_it(notes: Path, watch: Watch) -> None:
    (notes / "binary.md").write_bytes(b"\0\1\2")
    [skipped] = watch.update()["skipped"]
    assert skipped["path"] == "notes/binary.md"

    (notes / "binary.md").unlink()
    assert watch.update()["skipped"] == []


def test_five_thousand_changes_in_a_row_are_few_updates(
    cli: Any, notes: Path, indexed: Path, watch: Watch
) -> None:
    names = [f"many-{number}.md" for number in range(10)]
    for version in range(500):
        for name in names:
            (notes / name).write_text(f"# Many\n\nVersion_{version} of {name}.\n")
    (notes / "last.md").write_text("# Last\n")

    updates = [watch.update()]
    while "notes/last.md" not in indexed_paths(cli, indexed):
        updates.append(watch.update())

    assert len(updates) < 20
    assert len(containing(cli, "Version_499", indexed)) == len(names)
    for name in [*names, "last.md"]:
        (notes / name).unlink()
    watch.updates("removed", 11)


def test_another_writer_is_told_and_what_changed_meanwhile_is_followed(
    cli: Any, notes: Path, indexed: Path, watch: Watch
) -> None:
    with Index(Place.of(indexed), create=True):
        (notes / "meanwhile.md").write_text("# Meanwhile\n")
        assert f"is held by process {os.getpid()}" in watch.error()
    (notes / "after.md").write_text("# After\n")
    watch.updates("indexed", 2)
    assert {"meanwhile.md", "after.md"} <= paths(cli, indexed)


def test_folders_deleted_and_made_again_are_followed(
    cli: Any, notes: Path, indexed: Path, watch: Watch
) -> None:
    shutil.rmtree(notes / "deep")
    watch.updates("removed", 2)
    (notes / "deep").mkdir()
    (notes / "deep" / "again.md").write_text("# Again\n")
    watch.updates("indexed", 1)

    count = len(paths(cli, indexed))
    shutil.move(notes, notes.with_name("away"))
    assert "There is no file or folder" in watch.error()
    assert "again.md" in paths(cli, indexed)
    notes.mkdir()
    (notes / "other.md").write_text("# Other\n")
    watch.updates("removed", count)
    assert paths(cli, indexed) == {"other.md"}
    (notes / "more.md").write_text("# More\n")
    watch.updates("indexed", 1)


def test_another_command_takes_its_turn_and_ctrl_c_ends_it(
    cli: Any, notes: Path, indexed: Path, watch: Watch
) -> None:
    count = len(paths(cli, indexed))
    assert cli.index(notes, "--store", indexed, "--wait", "60")["unchanged"] == count

    assert watch.end("SIGINT") == 0
    assert sorted(os.listdir(indexed)) == [".gitignore", "generations", "lock"]


def test_a_single_file_is_followed_until_sigterm(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "roof.md").write_text("# Roof\n")
    arguments = ["--store", tmp_path / "index", *cli.models, "--watch"]
    with cli.start("index", tmp_path / "roof.md", *arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert "1 file indexed, 0 unchanged" in process.stdout.readline()
            assert "Watching" in process.stderr.readline()
            for number in range(2):
                (tmp_path / "new").write_text(f"# Roof {number}\n")
                (tmp_path / "new").replace(tmp_path / "roof.md")
                assert "1 file indexed, 0 removed" in process.stdout.readline()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        assert process.wait(60) == 0


def test_changes_in_closed_folders_and_in_the_index_lead_to_no_update(tmp_path: Path) -> None:
    inside = [tmp_path / "build", tmp_path / "index"]
    for folder in inside:
        folder.mkdir()
    watched = Watched(Place.of(tmp_path / "index"), [tmp_path], quiet=True, json=False)
    updates: list[float] = []

    def update() -> Summary:
        updates.append(time.monotonic())
        watched.closed = frozenset({tmp_path / "build"})
        if len(updates) > 1:
            raise KeyboardInterrupt
        return Summary()

    watching = threading.Thread(target=watched.run, args=(update,), daemon=True)
    watching.start()
    while not updates:
        time.sleep(0.05)
    for number in range(30):
        (inside[number % 2] / f"{number}.md").write_text("text")
        time.sleep(0.05)
    time.sleep(5 * QUIET / 1000)  # changes are told after a time without any
    assert len(updates) == 1

    (tmp_path / "note.md").write_text("text")
    watching.join(30)
    assert len(updates) == 2
