"""Searching beside a process that writes: no error, and always a complete state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.forks import start

# Opens the index again and again until a file is there, and checks what it sees.
READER = """
import re, sys
from collections import defaultdict
from pathlib import Path
from qwen3_rag_cli.index import Index
from qwen3_rag_cli.places import Place

seen = set()
while not Path(sys.argv[2]).exists():
    with Index(Place.of(sys.argv[1])) as index:
        points = list(index.collection.scan(vectors=True))
        assert {str(point.document.id) for point in points} == index.manifest.ids()
        files = defaultdict(set)
        for point in points:
            version = re.search(r"version_(\\d+)", point.document.text)[1]
            files[point.document.payload["path"]].add(version)
        assert len(files) == 12, files
        assert all(len(versions) == 1 for versions in files.values()), files
        found = set().union(*files.values())
        assert len(found) == 1 or "part" in sys.argv, files
        seen |= found
print(*sorted(seen))
"""


def write(folder: Path, version: int) -> None:
    """Write twelve files that all name a version."""
    folder.mkdir(exist_ok=True)
    for number in range(12):
        # Of different length, so that chunks come and go.
        text = f"# Page {number}\n\n" + "\n\n".join(
            f"## Part {part}\n\nIt is version_{version} of {number}."
            for part in range(1 + (number + version) % 3)
        )
        (folder / f"{number}.md").write_text(text.replace("# Page", f"# version_{version} Page"))


@contextmanager
def readers(store: Path, stop: Path, *options: str) -> Iterator[None]:
    """Two processes that read until the end, and must not fail."""
    started = [start(READER, str(store), str(stop), *options) for _ in range(2)]
    try:
        yield
    finally:
        stop.touch()
        ended = [(*reader.communicate(timeout=120), reader.returncode) for reader in started]
    for out, err, code in ended:
        assert (code, err) == (0, ""), err
        assert len(out.split()) > 1  # versions


def test_readers_beside_runs_see_whole_versions(cli: Any, tmp_path: Path) -> None:
    tree, store = tmp_path / "tree", tmp_path / "index"
    write(tree, 0)
    cli.index(tree, "--store", store, *cli.models)

    with readers(store, tmp_path / "stop"):
        for version in range(1, 5):
            write(tree, version)
            cli.index(tree, "--store", store)

    cli.index(tree, "--store", store)
    assert len(list((store / "generations").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_eight_searches_beside_runs_and_a_watch(cli: Any, tmp_path: Path) -> None:
    tree, store = tmp_path / "tree", tmp_path / "index"
    write(tree, 0)
    cli.index(tree, "--store", store, *cli.models)
    search = ["search", "version", "--store", store, "--json", "--limit", "50"]
    watched = ["index", tree, "--store", store, "--watch", "--json", "--wait", "60"]

    with (
        # A run may meet files that are being written, but never shows half of one.
        readers(store, tmp_path / "stop", "part"),
        cli.start(*watched) as watch,
    ):
        watch.stdout.readline()
        for version in range(1, 4):
            searches = [cli.start(*search) for _ in range(8)]
            write(tree, version)
            cli.start("index", tree, "--store", store, "--wait", "60").communicate()
            for one in searches:
                out, err = one.communicate(timeout=300)
                assert (one.returncode, err) == (0, "")
                versions: dict[str, set[str]] = {}
                for hit in json.loads(out)["hits"]:
                    found = hit["text"].split("version_")[1].split()[0]
                    versions.setdefault(hit["path"], set()).add(found)
                assert len(versions) == 12
                assert all(len(found) == 1 for found in versions.values())
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(60) == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_sigterm_ends_the_demo_and_removes_its_folder(cli: Any, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        cli.command("demo"), stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert "Indexing" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)

    assert process.returncode == 143
    assert list(tmp_path.glob("qwen3-rag-demo-*")) == []
