"""Indexes in collections of other stores, which several machines may share."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_hybrid import Document, Point, open_store
from qwen3_rag_testkit.qdrant_server import QdrantServer


def at(server: QdrantServer) -> str:
    return f"{server.url.replace('http:', 'qdrant:')}/notes"


def content(address: str) -> dict[Any, Point]:
    with closing(open_store(address)) as store:
        return {point.document.id: point for point in store.scan(vectors=True)}


def same(found: dict[Any, Point], expected: dict[Any, Point]) -> bool:
    """Whether two collections hold the same documents with the same vectors."""
    if {id_: p.document for id_, p in found.items()} != {
        id_: p.document for id_, p in expected.items()
    }:
        return False
    # Embedded in other batches, and normalised by the store.
    return all(
        point.dense == pytest.approx(expected[id_].dense, abs=1e-5)
        and (point.sparse is None) == (expected[id_].sparse is None)
        for id_, point in found.items()
    )


def test_files_are_indexed_searched_and_updated(
    cli: Any, notes: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)
    assert cli.run("search", "roof", "--store", address).code == 3

    first = cli.index(".", "--store", address, *cli.models)
    again = cli.index(".", "--store", address)
    [best, *_] = cli.hits("What color is the roof?", address, "--filter", "path=notes/roof.md")
    texts = cli.hits("It rained", address, "--filter", "kind=text")
    examined = cli.run("doctor", "--store", address, "--no-measure", "--json")
    (notes / "roof.md").write_text(
        "# Roof\n\nThe roof is red.\n\n## Decision\n\nAda decided in June.\n", encoding="utf-8"
    )
    (notes / "deep" / "sum.py").unlink()
    (notes / "deep" / "new.txt").write_text("The sun shines.\n", encoding="utf-8")
    updated = cli.index(".", "--store", address)
    last = cli.index(".", "--store", address)

    assert first["store"] == address
    assert (first["indexed"], first["embedded"], first["chunks"]) == (3, 5, 5)
    assert (again["unchanged"], again["indexed"], again["embedded"]) == (3, 0, 0)
    assert best["path"] == "notes/roof.md"
    assert [hit["path"] for hit in texts] == ["notes/deep/diary.txt"]
    assert examined.code == 0
    assert {"store": address, "files": 3, "chunks": 5, "state": "sound"}.items() <= examined.json[
        "index"
    ].items()
    assert (updated["indexed"], updated["unchanged"], updated["removed"]) == (2, 1, 1)
    assert updated["embedded"] == 2  # of the file that changed, one chunk stays
    assert (last["unchanged"], last["indexed"], last["embedded"]) == (3, 0, 0)
    assert set(content(address)) == {
        *("notes/roof.md#0", "notes/roof.md#1", "notes/deep/diary.txt#0", "notes/deep/new.txt#0"),
    }


def test_places_other_than_lines_are_kept(
    cli: Any, notes: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)
    (notes / "prices.csv").write_text("wine,price\nChianti,12\nBarolo,30\n")

    cli.index("prices.csv", "--store", address, *cli.models)
    [hit] = cli.hits("Barolo", address)

    assert hit["where"] == "notes/prices.csv rows 2-3"
    assert (hit["place"], hit["row"], hit["end_row"]) == ("rows 2-3", 2, 3)


def test_the_client_of_milvus_lite_says_nothing_on_the_terminal(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    address = f"milvus:{tmp_path}/milvus.db/notes"
    command = cli.command("index", ".", "--store", address, *cli.models)

    runs = [
        subprocess.run(command, cwd=notes, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]

    assert [run.stderr for run in runs] == ["", ""]


def test_an_updated_collection_is_like_a_new_one(
    cli: Any, corpus: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    corpus.made(tree, 12)
    monkeypatch.chdir(tree)
    cli.index(".", "--store", address, *cli.models)
    for number, path in enumerate(sorted(tree.rglob("*.md"))):
        if number % 3 == 0:
            path.write_text(f"{path.read_text()}\n## Added\n\nThe end.\n", encoding="utf-8")
        elif number % 3 == 1:
            path.unlink()
    cli.index(".", "--store", address)
    updated = content(address)

    fresh = f"milvus:{tmp_path}/fresh.db/notes"
    cli.index(".", "--store", fresh, *cli.models)

    assert same(updated, content(fresh))


def test_machines_with_the_same_folder_share_and_others_stay_apart(
    cli: Any, notes: Path, server: QdrantServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop, runner, other = (tmp_path / name / "notes" for name in ("laptop", "runner", "other"))
    for folder in (laptop, runner):
        shutil.copytree(notes, folder)
    other.mkdir(parents=True)
    (other / "roof.md").write_text("# Another roof\n\nThis one is blue.\n", encoding="utf-8")

    def index(folder: Path, *arguments: str) -> Any:
        monkeypatch.chdir(folder)
        return cli.index(".", "--store", at(server), *cli.models, *arguments)

    first, shared = index(laptop), index(runner)
    apart = index(other, "--source", "other")
    (runner / "deep" / "diary.txt").unlink()
    removed = index(runner)
    back = index(laptop)

    assert (first["embedded"], shared["embedded"], shared["unchanged"]) == (5, 0, 3)
    assert (apart["removed"], apart["chunks"]) == (0, 6)
    assert (removed["removed"], removed["chunks"]) == (1, 5)
    assert (back["embedded"], back["chunks"]) == (1, 6)  # the last run decides
    paths = {point.document.payload["path"] for point in content(at(server)).values()}
    assert {"other/roof.md", "notes/roof.md"} <= paths


def test_documents_of_other_programs_stay(
    cli: Any, notes: Path, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)
    cli.index(".", "--store", at(server), *cli.models)
    with closing(open_store(at(server))) as store:
        [point, *_] = store.scan(vectors=True)
        theirs = Document("theirs", "The roof of another program.", {"path": "notes/old.md"})
        store.upsert([Point(theirs, point.dense, point.sparse)])

    summary = cli.index(".", "--store", at(server))
    shown = cli.run("search", "The roof of another program.", "--store", at(server))

    assert (summary["removed"], summary["chunks"]) == (0, 6)
    assert "theirs" in content(at(server))
    assert re.search(r"notes/old\.md$", shown.out, re.M)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_is_continued(
    cli: Any,
    corpus: Any,
    server: QdrantServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = tmp_path / "tree"
    corpus.made(tree, 80)
    monkeypatch.chdir(tree)
    command = ["index", ".", *cli.models, "--store"]
    cli.index(*command[1:], at(server))
    expected = content(at(server))

    for moment in (1, 3):
        address = f"{at(server)}{moment}"
        server.requests.clear()
        with cli.start(*command, address) as process:
            server.on_request = _killing(process, server, moment)
            process.wait(timeout=240)
        server.on_request = None
        assert process.returncode == -signal.SIGKILL
        cli.index(*command[1:], address)

        assert same(content(address), expected)


def _killing(process: Any, server: QdrantServer, moment: int) -> Callable[[str], None]:
    """Kill the process when it writes so many times."""

    def kill(request: str) -> None:
        writes = [one for one in server.requests if re.fullmatch(r"PUT \S+/points", one)]
        if len(writes) == moment:
            process.send_signal(signal.SIGKILL)

    return kill


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["search", "x", "--store", "qdrant://127.0.0.1:1/notes"], 3, "Check that Qdrant runs"),
        (["index", ".", "--store", "qdrant://127.0.0.1:1/notes"], 3, "QDRANT_API_KEY"),
        (["search", "x", "--store", "qdrant://u:s3cret@localhost/notes"], 2, "QDRANT_API_KEY"),
        (["search", "x", "--store", "http://localhost:6333"], 2, "qdrant://HOST:6333/COLLECTION"),
        (["index", ".", "--store", "index", "--source", "a"], 2, "leave it out"),
        (["index", ".", "--store", "qdrant://h/n", "--source", "a/b"], 2, "without a slash"),
        (["index", "..", "--store", "qdrant://h/n"], 2, "Change to a folder above it"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_says_what_to_do(
    cli: Any,
    notes: Path,
    arguments: list[str],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(notes)

    said = cli.run(*arguments, *cli.models)

    assert said.code == code
    assert told in said.err
    assert "s3cret" not in said.err + said.out


def test_doctor_says_when_a_server_does_not_answer_or_has_no_index(
    cli: Any, server: QdrantServer
) -> None:
    gone = cli.run("doctor", "--store", "qdrant://127.0.0.1:1/notes", "--no-measure", "--json")
    empty = cli.run("doctor", "--store", at(server), "--no-measure", "--json")

    assert gone.code == 3
    assert "Check that Qdrant runs there" in gone.json["index"]["state"]
    assert empty.code == 0
    assert f"--store {at(server)}" in empty.json["index"]["state"]


def test_a_missing_client_ends_with_5_and_the_line_that_installs_it(cli: Any) -> None:
    code = (
        "import sys\nsys.modules['weaviate'] = None\n"
        "from qwen3_rag_cli.app import main\n"
        "sys.argv[1:] = ['search', 'x', '--store', 'weaviate://localhost/Notes']\nmain()"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 5
    assert 'pip install "qwen3-rag-hybrid[weaviate]"' in done.stderr


def test_the_index_says_nothing_of_its_store(
    cli: Any, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    monkeypatch.chdir(notes)

    said = cli.process("index", ".", "--store", "milvus:../index.db/notes", *cli.models, "--quiet")

    assert (said.code, said.out, said.err) == (0, "", "")
