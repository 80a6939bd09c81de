"""Edge: one process at a time, clear errors, and nothing is lost when the process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_rag import Qwen3Embedder, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_testkit.backends import TextBackend

WRITER = """
import sys
from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import Document, QdrantEdgeStore, HybridSearcher
from qwen3_rag_testkit.backends import TextBackend

embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
searcher = HybridSearcher(QdrantEdgeStore(sys.argv[1]), embedder)
searcher.create(fields={"place": "integer"})
for start in range(0, 4000, 20):
    searcher.add(
        [
            Document(f"document {n}", f"text {n} of {n % 17}", {"place": n})
            for n in range(start, start + 20)
        ]
    )
    print(start, flush=True)
sys.stdin.read()
"""


def searcher_at(path: Path) -> HybridSearcher:
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
    return HybridSearcher(QdrantEdgeStore(path), embedder, encoder=BM25Encoder())


def documents(count: int) -> list[Document]:
    return [Document(f"document {n}", f"text {n} of {n % 17}", {"place": n}) for n in range(count)]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that fills the folder `store` and then keeps it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "store")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.kill()


def lines(process: subprocess.Popen[str], count: int) -> None:
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline()


def test_a_second_process_is_told_who_holds_the_folder(
    writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    lines(writer, 1)

    with pytest.raises(StoreError, match=rf"is held by process {writer.pid} on host .*`wait="):
        QdrantEdgeStore(tmp_path / "store")


def test_a_second_opening_in_one_process_is_told_so(tmp_path: Path) -> None:
    with searcher_at(tmp_path) as searcher:
        searcher.create()
        with pytest.raises(StoreError, match=rf"itself \(pid {os.getpid()}\).*Close the other"):
            QdrantEdgeStore(tmp_path)
    QdrantEdgeStore(tmp_path).close()


@pytest.mark.parametrize("batches", [1, 7, 40])
def test_killed_while_adding_nothing_that_was_written_is_lost(
    writer: subprocess.Popen[str], tmp_path: Path, batches: int
) -> None:
    lines(writer, batches)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    expected = searcher_at(tmp_path / "whole")
    expected.create(fields={"place": "integer"})
    expected.add(documents(1000))

    with searcher_at(tmp_path / "store") as searcher:  # the dead process's lock is gone
        assert searcher.count() >= min(batches * 20, 4000)
        there = {point.document.id for point in searcher.scan()}
        assert {f"document {n}" for n in range(batches * 20)} <= there
        searcher.delete([f"document {n}" for n in range(1000, 4000)])
        searcher.add(documents(1000))
    with searcher_at(tmp_path / "store") as searcher, expected:
        assert {finding.code for finding in searcher.check_collection()} <= {"avg_len"}
        assert contents(searcher) == contents(expected)
        for query in ("text 7", "text 3 of 5", "of 16"):
            found, wanted = (one.search(query, limit=50) for one in (searcher, expected))
            assert [(hit.id, hit.ranks) for hit in found] == [(hit.id, hit.ranks) for hit in wanted]


def contents(searcher: HybridSearcher) -> dict[object, object]:
    return {
        point.document.id: (
            point.document,
            point.dense.tolist() if point.dense is not None else None,
            point.sparse.as_dict() if point.sparse is not None else None,
        )
        for point in searcher.scan(vectors=True)
    }


def test_killed_while_making_the_collection_leaves_a_place_to_make_it(tmp_path: Path) -> None:
    # What a kill leaves: everything beside its place, nothing in it.
    (tmp_path / "collection.new" / "shard" / "segments").mkdir(parents=True)
    (tmp_path / "lock").write_text("{")

    with searcher_at(tmp_path) as searcher:
        searcher.create()
        searcher.add(documents(3))
        assert searcher.count() == 3
    assert not (tmp_path / "collection.new").exists()


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    with searcher_at(tmp_path / "no" / "where") as searcher:
        assert searcher.count() == 0
        assert [finding.code for finding in searcher.check_collection()] == ["missing"]
        with pytest.raises(StoreError, match=r"no collection in .*where"):
            searcher.delete(["a"])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match=r"file' is a file. Give a folder"):
        QdrantEdgeStore(tmp_path / "file")
    with (
        searcher_at(tmp_path / "file" / "below") as searcher,
        pytest.raises(StoreError, match=r"cannot be made \(Not a directory\)"),
    ):
        searcher.create()


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="the administrator may write anywhere",
)
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with (
            searcher_at(tmp_path) as searcher,
            pytest.raises(StoreError, match=r"cannot be written to \(Permission denied\)"),
        ):
            searcher.create()
    finally:
        tmp_path.chmod(0o700)


def test_a_lock_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()  # also where the administrator runs the tests

    with (
        searcher_at(tmp_path) as searcher,
        pytest.raises(StoreError, match=r"cannot be written to \(Is a directory\).*Choose"),
    ):
        searcher.create()


def damaged_record(folder: Path) -> None:
    (folder / "settings.json").write_text('{"format"')


def foreign_record(folder: Path) -> None:
    (folder / "settings.json").write_text("[]")


def missing_record(folder: Path) -> None:
    (folder / "settings.json").unlink()


def other_dim(folder: Path) -> None:
    record = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**record, "dim": 32}))


def damaged_configuration(folder: Path) -> None:
    (folder / "shard" / "edge_config.json").write_bytes(b"\0" * 10)


def damaged_segment(folder: Path) -> None:
    for state in (folder / "shard" / "segments").glob("*/segment.json"):
        state.write_bytes(b"{")


def panicking_segment(folder: Path) -> None:
    for status in (folder / "shard" / "segments").glob("*/vector_storage-dense/deleted/status.dat"):
        os.truncate(status, 1)


@pytest.mark.parametrize(
    "damage",
    [
        *(damaged_record, foreign_record, missing_record, other_dim),
        *(damaged_configuration, damaged_segment, panicking_segment),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_folder_says_so(damage: object, tmp_path: Path) -> None:
    with searcher_at(tmp_path) as searcher:
        searcher.create()
        searcher.add(documents(5))

    assert callable(damage)
    damage(tmp_path / "collection")

    with pytest.raises(StoreError, match=r"Opening .* failed: [\s\S]*is damaged. Restore"):
        QdrantEdgeStore(tmp_path)
    with pytest.raises(StoreError, match="is damaged"):  # and the failed attempt left no lock
        QdrantEdgeStore(tmp_path)


def test_a_folder_of_a_later_release_says_so(tmp_path: Path) -> None:
    with searcher_at(tmp_path) as searcher:
        searcher.create()
    path = tmp_path / "collection" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))

    with pytest.raises(StoreError, match=r"format 99.*A later release of this package wrote it"):
        QdrantEdgeStore(tmp_path)


def test_tidying_up_forgets_the_words_of_deleted_documents(tmp_path: Path) -> None:
    with searcher_at(tmp_path / "a") as searcher, searcher_at(tmp_path / "b") as fresh:
        for one in (searcher, fresh):
            one.create()
            one.add(documents(40))
        searcher.add([Document(f"more {n}", "text of deleted things") for n in range(60)])
        searcher.delete([f"more {n}" for n in range(60)])

        assert isinstance(searcher.store, QdrantEdgeStore)
        searcher.store.optimize()

        assert searcher.search("text 7") == fresh.search("text 7")


def test_tidying_up_keeps_short_vectors(tmp_path: Path) -> None:
    with searcher_at(tmp_path) as searcher:
        searcher.create(short_dim=32)
        searcher.add(documents(100))
        before = searcher.search("text 7")

        assert isinstance(searcher.store, QdrantEdgeStore)
        searcher.store.optimize()

        assert searcher.search("text 7") == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_told_and_told_of(tmp_path: Path) -> None:
    searcher = searcher_at(tmp_path)
    searcher.create()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            searcher.count()
            message = "no error"
        except StoreError as error:
            message = str(error)
        os.write(writing, message.encode())
        signal.pause()
    try:
        message = os.read(reading, 1000).decode()
        assert f"opened by process {os.getpid()}" in message
        searcher.close()
        with pytest.raises(StoreError, match="A process forked from one that had it open"):
            QdrantEdgeStore(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
    QdrantEdgeStore(tmp_path).close()


def test_the_folder_of_a_closed_store_is_free(tmp_path: Path) -> None:
    searcher = searcher_at(tmp_path)
    searcher.create()
    searcher.close()

    with pytest.raises(StoreError, match=r"was closed. Open it again"):
        searcher.search("x")
    with searcher_at(tmp_path) as again:
        assert again.count() == 0
