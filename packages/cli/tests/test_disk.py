"""Full disks, damaged files and folders that may not be written: told, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_hybrid import CollectionRecord, QdrantEdgeStore

# Megabytes: what the smallest index takes on a filesystem in memory, where holes of files that are
# read take space, is about 130.
SIZES = [0.1, 0.3, 0.5, 1, 2, 5, 10, 20, 40, 80, 120, 130, 135, 140, 150, 160, 180, 200, 280, 400]

# Runs commands on disks of several sizes, one after the other, and prints how each ended.
RUN = """
import json, sys
from typer.testing import CliRunner
from qwen3_rag_cli.app import app

for line in sys.stdin:
    done = CliRunner().invoke(app, json.loads(line), prog_name="qwen3-rag")
    print(json.dumps([done.exit_code, done.stdout, done.stderr]), flush=True)
"""


class Commands:
    """Another process that runs commands; a signal of the system would end it, and not the tests.

    It is one, because importing torch takes longer than anything else here.
    """

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([str(one) for one in arguments]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"ended by signal {-self.process.wait()} in {arguments[0]}"
        code, out, err = json.loads(line)
        return code, out, " ".join(err.split())

    def close(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture
def commands() -> Iterator[Commands]:
    started = Commands()
    yield started
    started.close()


@contextmanager
def disk(folder: Path, megabytes: float) -> Iterator[None]:
    folder.mkdir()
    options = f"size={int(megabytes * 1e6)}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)])
    if mounted.returncode:
        pytest.skip("a filesystem in memory cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=2g", str(folder)], check=True)


def fill(cli: Any, corpus: Any, commands: Commands, folder: Path, sizes: Sequence[float]) -> None:
    """Index on disks of several sizes, change the files, index and search; then on larger ones."""
    tree = folder / "tree"
    corpus.made(tree, 40)
    cli.index(tree, "--store", folder / "first", *cli.models)
    first = cli.content(folder / "first")
    removed = (tree / "0" / "0000.md").read_text()
    (tree / "new.md").write_text("# New\n\nA zebra.\n")
    (tree / "0" / "0000.md").unlink()
    cli.index(tree, "--store", folder / "first")
    second = cli.content(folder / "first")
    codes = set()
    for megabytes in sizes:
        store = folder / f"disk-{megabytes}"
        with disk(store, megabytes):
            index = ["index", str(tree), "--store", str(store), *cli.models, "-q"]
            (tree / "0" / "0000.md").write_text(removed)
            (tree / "new.md").unlink(missing_ok=True)
            for _ in range(2):
                code, _, err = commands.run(*index)
                codes.add(code)
                check(code, err)
                code, out, err = commands.run("search", "value", "--store", store, "--json")
                check(code, err, missing="There is no index" in err)
                if code == 0:
                    assert len(json.loads(out)["hits"]) == 10
                (tree / "new.md").write_text("# New\n\nA zebra.\n")
                (tree / "0" / "0000.md").unlink(missing_ok=True)
            grow(store)
            assert commands.run(*index)[0] == 0
            assert cli.content(store) == second
    assert first != second
    assert codes == {0, 3}


def check(code: int, err: str, missing: bool = False) -> None:
    if code == 0 or missing:
        return
    assert code == 3
    assert "full" in err or "disk" in err, err
    assert "damaged" not in err
    assert "bug" not in err


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_full_disks_of_some_sizes_are_told_and_nothing_is_lost(
    cli: Any, corpus: Any, commands: Commands, tmp_path: Path
) -> None:
    fill(cli, corpus, commands, tmp_path, [0.1, 5, 150, 280])


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_full_disks_of_twenty_sizes_are_told_and_nothing_is_lost(
    cli: Any, corpus: Any, commands: Commands, tmp_path: Path
) -> None:
    fill(cli, corpus, commands, tmp_path, SIZES)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_a_disk_without_a_free_byte_is_searched_and_told(
    cli: Any, notes: Path, commands: Commands, tmp_path: Path
) -> None:
    with disk(tmp_path / "disk", 400):
        store = tmp_path / "disk" / "index"
        index = ["index", notes, "--store", store, *cli.models, "-q"]
        assert commands.run(*index)[0] == 0
        hits = cli.hits("roof", store)
        with (tmp_path / "disk" / "rest").open("wb", buffering=0) as rest:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while True:
                        rest.write(bytes(size))
        (notes / "new.md").write_text("# New\n")

        code, out, err = commands.run("search", "roof", "--store", store, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["hits"] == hits
        code, _, err = commands.run(*index)
        assert code == 3
        check(code, err)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_a_watch_goes_on_when_a_full_disk_has_space_again(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    with disk(tmp_path / "disk", 400):
        index = ["index", notes, "--store", tmp_path / "disk" / "index", *cli.models]
        with cli.start(*index, "--watch", "--json") as watch:
            assert json.loads(watch.stdout.readline())["indexed"] == 3
            rest = tmp_path / "disk" / "rest"
            with rest.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))
            (notes / "new.md").write_text("# New\n")
            told = json.loads(watch.stderr.readline())["error"]["message"]
            rest.unlink()
            (notes / "newer.md").write_text("# Newer\n")
            update = json.loads(watch.stdout.readline())
            watch.terminate()

    assert "Free some space, and it goes on by itself" in told
    assert update["indexed"] == 2


def flip(cli: Any, notes: Path, indexed: Path, files: int, times: int) -> None:
    """Change one byte of a file after another, search, and index again."""
    content = cli.content(indexed)
    hits = cli.hits("roof", indexed)
    told = 0
    places = random.Random(3)
    paths = [path for path in sorted(indexed.rglob("*")) if path.is_file()]
    named = [path for path in paths if path.name in ("manifest.sqlite3", "settings.json")]
    for path in [*paths[::files], *named] * times:
        store = indexed.with_name("flipped")
        shutil.copytree(indexed, store)
        flipped = store / path.relative_to(indexed)
        raw = bytearray(flipped.read_bytes())
        if raw:
            raw[places.randrange(len(raw))] ^= 1 << places.randrange(8)
            flipped.write_bytes(raw)
        said = cli.run("search", "roof", "--store", store, "--json")
        if said.code:
            told += 1
            assert said.code == 3
            err = " ".join(said.err.split())
            if "later release" not in err:
                assert "is damaged" in err
                assert "Run `qwen3-rag index` with the same paths" in err
                # The models it was made with are remembered, unless that is what was damaged.
                models = cli.models if path.name == "manifest.sqlite3" else []
                assert cli.index(notes, "--store", store, *models)["damage"]
                assert cli.content(store) == content
        else:
            assert said.json["hits"] == hits
        shutil.rmtree(store)
    assert told > len(paths) * times // files // 2


def test_a_flipped_byte_is_told_by_search_or_changes_nothing(
    cli: Any, notes: Path, indexed: Path
) -> None:
    flip(cli, notes, indexed, 8, 1)


@pytest.mark.slow
def test_flipped_bytes_in_every_file_are_told_by_search_or_change_nothing(
    cli: Any, notes: Path, indexed: Path
) -> None:
    flip(cli, notes, indexed, 1, 5)


def test_the_summary_tells_of_damage_that_was_repaired(
    cli: Any, notes: Path, indexed: Path
) -> None:
    [path] = indexed.rglob("settings.json")
    path.write_text("{}")

    said = cli.run("index", notes, "--store", indexed)

    assert said.code == 0
    assert "was damaged (collection/settings.json has another content" in said.out
    assert cli.hits("roof", indexed)


@pytest.mark.parametrize(
    "name", ["1/checksums.json", "1/manifest.sqlite3", "1/collection", "1", "2"]
)
def test_an_index_whose_parts_are_missing_is_told_and_made_anew(
    cli: Any, notes: Path, indexed: Path, name: str
) -> None:
    content = cli.content(indexed)
    path = indexed / "generations" / name
    if name == "2":
        path.mkdir()  # all of a generation is missing, but for its folder
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

    told = [cli.run(command, "--store", indexed) for command in ("list", "info")]
    told.append(cli.run("doctor", "--store", indexed, "--no-measure", "--json"))
    repaired = cli.index(notes, "--store", indexed, *cli.models)

    if name == "1":
        assert "There is no index" in told[0].err
    else:
        assert [said.code for said in told] == [3, 3, 3]
        assert " is missing). Run `qwen3-rag index`" in told[0].err.replace("\n", " ")
        assert "is missing" in told[2].json["index"]["state"]
        assert "is missing" in repaired["damage"]
    assert cli.content(indexed) == content
    assert cli.hits("roof", indexed)


def test_what_a_killed_run_never_leaves_is_cleared(cli: Any, notes: Path, indexed: Path) -> None:
    for name in ("work", "work.new", "removed-1"):
        (indexed / name).write_text("a file in place of a folder")
    (indexed / "generations" / "\N{ARABIC-INDIC DIGIT THREE}").mkdir()
    (notes / "new.md").write_text("# New\n")

    assert cli.hits("roof", indexed)
    assert cli.index(notes, "--store", indexed)["indexed"] == 1
    assert sorted(os.listdir(indexed)) == [".gitignore", "generations", "lock"]


def test_a_collection_of_another_program_is_no_index(cli: Any, notes: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with closing(QdrantEdgeStore(store)) as collection:
        collection.create(CollectionRecord("test/model", "1" * 32, 4, {"text_field": "text"}))
        collection.publish()

    said = cli.run("index", notes, "--store", store, *cli.models)

    assert said.code == 3
    assert "holds other files and no index" in " ".join(said.err.split())


def test_a_file_or_a_link_to_nothing_is_no_folder_for_an_index(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")

    for name, told in (("file", "is a file. Name"), ("link", "leads nowhere. Name a folder")):
        for command in (["index", notes, *cli.models], ["search", "roof"], ["list"]):
            said = cli.run(*command, "--store", tmp_path / name)
            assert said.code == 3
            assert told in " ".join(said.err.split())


def test_a_panic_of_the_engine_is_one_message(cli: Any, notes: Path, indexed: Path) -> None:
    cli.unpublish(indexed)
    for status in indexed.glob("collection/shard/segments/*/vector_storage-dense/deleted/status*"):
        os.truncate(status, 1)

    said = cli.process("search", "roof", "--store", indexed)

    assert said.code == 3
    assert said.err.startswith("Error: The index at")
    assert "is damaged" in said.err
    assert "panicked" not in said.err
    assert cli.index(notes, "--store", indexed, *cli.models)["embedded"] == 5


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Run as a user without special rights, if this one has them."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
def test_an_index_that_may_not_be_written_is_searched(
    cli: Any, notes: Path, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = cli.hits("roof", indexed)
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "index"
        shutil.copytree(indexed, store)
        shutil.copytree(cli.embedding, Path(name) / "embedding")
        shutil.copytree(cli.reranking, Path(name) / "reranking")
        models = ["--model", f"{name}/embedding", "--reranker", f"{name}/reranking"]
        (Path(name) / "notes.md").write_text("# Note\n")
        for path in (Path(name), *Path(name).rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        monkeypatch.chdir(name)
        with as_somebody_else():
            hits = cli.hits("roof", store, *models)
            said = cli.run("index", "notes.md", "--store", store, *models)
            other = cli.run("index", "notes.md", "--store", f"{name}/new", *models)
        for path in (Path(name), *Path(name).rglob("*")):
            path.chmod(0o777)

    assert hits == expected
    assert (said.code, other.code) == (3, 3)
    assert "cannot be written" in said.err
    assert "cannot be written" in other.err
