"""Edge: any number of readers beside one writer, each of them on a whole state."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as engine

from qwen3_rag import Hit, Qwen3Embedder, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_testkit.backends import TextBackend

QUERIES = ("text 7", "text 3 of 5", "of 16")


def searcher_at(path: Path, **options: Any) -> HybridSearcher:
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
    return HybridSearcher(QdrantEdgeStore(path, **options), embedder)


def documents(count: int, word: str = "text") -> list[Document]:
    return [Document(f"document {n}", f"{word} {n} of {n % 17}", {"n": n}) for n in range(count)]


def publish(searcher: HybridSearcher) -> None:
    assert isinstance(searcher.store, QdrantEdgeStore)
    searcher.store.publish()


def seen(path: Path) -> tuple[Any, ...]:
    """All a reader can tell a generation by."""
    with searcher_at(path, read_only=True) as searcher:
        texts = {point.document.id: point.document.text for point in searcher.scan(vectors=True)}
        return texts, [[plain(hit) for hit in searcher.search(query)] for query in QUERIES]


def plain(hit: Hit) -> tuple[Any, ...]:
    return hit.id, hit.text, {name: (one.rank, one.score) for name, one in hit.ranks.items()}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder with one generation, of 40 documents."""
    path = tmp_path / "store"
    with searcher_at(path) as searcher:
        searcher.create(fields={"n": "integer"})
        searcher.add(documents(60))
        searcher.delete([f"document {n}" for n in range(40, 60)])
        publish(searcher)
    return path


def test_readers_see_what_was_published_while_a_writer_changes_it(published: Path) -> None:
    before = seen(published)
    assert len(before[0]) == 40

    with searcher_at(published) as writer:
        writer.add(documents(20, "changed"))
        writer.delete(["document 39"])
        assert seen(published) == before
        publish(writer)
        after = seen(published)
        assert writer.search("changed 3")[0].id == "document 3"
    assert len(after[0]) == 39
    assert after[0]["document 3"] == "changed 3 of 3"
    assert seen(published) == after


def test_changes_to_a_copy_are_complete(published: Path, tmp_path: Path) -> None:
    for _ in range(3):  # the engine numbers changes, and passes over those it thinks it has seen
        with searcher_at(published) as writer:
            writer.delete([f"document {n}" for n in range(5)])
            writer.add(documents(10, "new"))
            writer.add(documents(10, "newest"))
            publish(writer)
    with searcher_at(tmp_path / "fresh") as fresh:
        fresh.create(fields={"n": "integer"})
        fresh.add([*documents(40)[10:], *documents(10, "newest")])
        expected = {point.document.id: point.document.text for point in fresh.scan()}

    assert seen(published)[0] == expected


def test_a_reader_keeps_its_state_until_it_is_refreshed(published: Path) -> None:
    with searcher_at(published, read_only=True) as reader, searcher_at(published) as writer:
        assert isinstance(reader.store, QdrantEdgeStore)
        assert not reader.store.refresh()
        for word in ("second", "third"):
            writer.add(documents(40, word))
            publish(writer)
        assert os.listdir(published / "generations") == ["3"]

        assert reader.search("text 7")[0].text == "text 7 of 7"
        assert len(list(reader.scan(vectors=True))) == 40
        assert reader.store.refresh()
        assert reader.search("third 7")[0].text == "third 7 of 7"


def test_many_readers_in_processes_beside_a_writer(published: Path) -> None:
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_generations import seen
for _ in range(3):
    texts, found = seen(Path({str(published)!r}))
    words = {{text.split()[0] for text in texts.values()}}
    assert len(texts) == 40 and len(words) == 1, (len(texts), words)
    assert all(found), found
"""
    readers = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    with searcher_at(published) as writer:
        number = 0
        while any(reader.poll() is None for reader in readers):
            number += 1
            writer.add(documents(40, f"word{number}"))
            publish(writer)
    for reader in readers:
        _, said = reader.communicate()
        assert (reader.returncode, said) == (0, "")
    assert number > 1


def test_reading_in_threads_while_generations_are_removed(published: Path) -> None:
    failed: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert len(seen(published)[0]) == 40
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    with searcher_at(published) as writer:
        for number in range(4):
            writer.add(documents(40, f"word{number}"))
            publish(writer)
    done.set()
    for thread in threads:
        thread.join()

    assert failed == []


def test_a_reader_cannot_write(published: Path) -> None:
    before = seen(published)

    with searcher_at(published, read_only=True) as reader:
        assert isinstance(reader.store, QdrantEdgeStore)
        for write in (
            lambda: reader.add(documents(1)),
            lambda: reader.delete(["document 1"]),
            lambda: reader.create(fields={"m": "integer"}),
            reader.store.begin,
            reader.store.publish,
            reader.store.optimize,
        ):
            with pytest.raises(StoreError, match=r"opened to be read\. Open it without"):
                write()
    assert seen(published) == before


def test_what_was_never_published_is_read_with_the_lock(tmp_path: Path) -> None:
    with searcher_at(tmp_path) as writer:
        writer.create()
        writer.add(documents(3))
        with pytest.raises(StoreError, match=r"itself .*Close the other"):
            searcher_at(tmp_path, read_only=True)
    with searcher_at(tmp_path, read_only=True) as reader:
        assert reader.count() == 3
        with pytest.raises(StoreError, match="opened to be read"):
            reader.delete(["document 1"])


def contents(folder: Path) -> dict[str, Any]:
    """Give the content of each file; the engine writes the same settings in any order."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            is_settings = path.name in ("edge_config.json", "segment.json")
            found[str(path.relative_to(folder))] = json.loads(raw) if is_settings else raw
    return found


def test_no_change_reaches_the_files_of_what_was_published(published: Path) -> None:
    generation = published / "generations" / "1"
    is_seven = engine.FieldCondition(key="n", match=engine.MatchValue(7))
    seven = engine.Filter(must=[is_seven])

    def points(reader: HybridSearcher) -> list[Any]:
        return [
            (point.document, point.dense.tobytes())
            for point in reader.scan(vectors=True)
            if point.dense is not None
        ]

    with searcher_at(published, read_only=True) as reader, searcher_at(published) as writer:
        before, read = contents(generation), points(reader)
        assert isinstance(writer.store, QdrantEdgeStore)
        store = writer.store

        def record() -> None:
            kept = store.record()
            assert kept is not None
            store.write_record(dataclasses.replace(kept, extra={"note": "changed"}))

        changes: list[Callable[[], object]] = [
            lambda: writer.add(documents(20, "changed")),
            lambda: writer.add(documents(300)),
            lambda: writer.delete(["document 1", "document 2"]),
            lambda: store.delete_matching(seven),
            lambda: writer.create(fields={"n": "integer", "m": "keyword"}),
            record,
            store.flush,
            store.optimize,
            lambda: writer.add(documents(5, "last")),
            writer.close,
            lambda: searcher_at(published).close(),
        ]
        for change in changes:
            change()
            assert contents(generation) == before
        assert len(read) == 40
        assert points(reader) == read


def test_publishing_without_changes_does_nothing(published: Path) -> None:
    with searcher_at(published) as writer:
        publish(writer)
        assert writer.count() == 40
        publish(writer)

    assert sorted(os.listdir(published)) == ["generations", "lock"]
    assert os.listdir(published / "generations") == ["1"]


def test_publishing_nothing_is_an_error(tmp_path: Path) -> None:
    with searcher_at(tmp_path) as writer, pytest.raises(StoreError, match="no collection"):
        publish(writer)


def test_files_beside_the_collection_belong_to_it(tmp_path: Path) -> None:
    with searcher_at(tmp_path) as writer:
        writer.create()
        (tmp_path / "list.txt").write_text("one")
        assert isinstance(writer.store, QdrantEdgeStore)
        writer.store.publish(["list.txt"])
        assert (writer.store.place / "list.txt").read_text() == "one"
        assert not (tmp_path / "list.txt").exists()
        place = writer.store.begin()
        (place / "list.txt").write_text("two")
        with closing(QdrantEdgeStore(tmp_path, read_only=True)) as reader:
            assert (reader.place / "list.txt").read_text() == "one"
        writer.store.publish()
    with closing(QdrantEdgeStore(tmp_path, read_only=True)) as reader:
        assert (reader.place / "list.txt").read_text() == "two"


def test_the_disk_holds_less_than_two_and_a_half_times_the_index(published: Path) -> None:
    alone, most = size(published), 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, size(published))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(3):
        with searcher_at(published) as writer:
            writer.add(documents(40, f"word{number}"))
            publish(writer)
    done.set()
    watcher.join()

    assert most < 2.5 * max(alone, size(published))
    assert size(published) < 1.5 * alone


def size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(os.path.join(parent, name))
            except FileNotFoundError:
                continue
            total += getattr(status, "st_blocks", status.st_size // 512) * 512
    return total


class _Died(BaseException):
    """The process ends here."""


def kill_at_steps(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    before = seen(published)[0]
    changed = {document.id: document.text for document in documents(20, "changed")}
    states, stops = set(), 0
    unpublished = tmp_path / "unpublished"
    with searcher_at(unpublished) as writer:
        writer.create(fields={"n": "integer"})
        writer.add(documents(40))
    for start in (published, unpublished):
        for stop in range(0, 1000, every):
            path = tmp_path / f"{start.name}-{stop}"
            shutil.copytree(start, path)
            with monkeypatch.context() as patch:
                patch_steps(patch, stop)
                try:
                    with searcher_at(path) as writer:
                        writer.add(documents(20, "changed"))
                        publish(writer)
                    break
                except _Died:
                    stops += 1
            if start is published:
                found = seen(path)[0]
                assert found in (before, before | changed)
                states.add(found["document 3"])
            with searcher_at(path) as writer:
                writer.add(documents(20, "changed"))
                publish(writer)
            assert seen(path)[0] == before | changed
            assert sorted(os.listdir(path)) == ["generations", "lock"]
            shutil.rmtree(path)

    assert stops > 20 // every
    assert every > 1 or states == {"text 3 of 3", "changed 3 of 3"}


def test_killed_at_some_steps_of_publishing(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at_steps(published, tmp_path, monkeypatch, 9)


@pytest.mark.slow
def test_killed_before_and_after_every_step_of_publishing(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at_steps(published, tmp_path, monkeypatch, 1)


def patch_steps(patch: pytest.MonkeyPatch, left: int) -> None:
    """Die before or after a change of the folder, the one with this number."""
    lock = threading.Lock()

    def dying(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            result = None
            for action in (lambda: None, lambda: step(*arguments, **options)):
                with lock:
                    if left <= 0:
                        raise _Died
                    left -= 1
                result = action()
            return result

        return wrapped

    for name in ("rename", "replace", "unlink"):
        patch.setattr(Path, name, dying(getattr(Path, name)))


def damaged_at(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 0x20]))


def places(folder: Path, count: int) -> Iterator[tuple[str, int]]:
    """Name every file, and places in it."""
    moments = random.Random(7)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size:
            for _ in range(count):
                yield str(path.relative_to(folder)), moments.randrange(path.stat().st_size)


def flip(folder: Path, tmp_path: Path, *, files: int, times: int) -> None:
    before = seen(folder)
    told = 0
    for name, place in list(places(folder, times))[::files]:
        path = tmp_path / "flipped"
        shutil.copytree(folder, path)
        damaged_at(path / name, place)
        said = ""
        try:
            assert seen(path) == before, (name, place)
        except StoreError as error:
            said = str(error)
        if said:
            assert "is damaged. Restore" in said or "later release" in said, name
            told += 1
            with searcher_at(path, repair=True) as writer:
                assert isinstance(writer.store, QdrantEdgeStore)
                assert writer.store.damage
                writer.create(fields={"n": "integer"})
                writer.add(documents(40))
                publish(writer)
            assert seen(path)[0] == before[0]
        shutil.rmtree(path)
    assert told > 30 * times // files


def test_a_flipped_byte_is_told_or_changes_nothing(published: Path, tmp_path: Path) -> None:
    flip(published, tmp_path, files=5, times=1)


@pytest.mark.slow
def test_a_flipped_byte_at_many_places_is_told_or_changes_nothing(
    published: Path, tmp_path: Path
) -> None:
    flip(published, tmp_path, files=1, times=10)


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


@pytest.fixture
def read_only(published: Path) -> Iterator[Path]:
    """The same folder, where nobody may write anything."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "store"
        shutil.copytree(published, path)
        os.chmod(name, 0o755)
        for entry in (path, *path.rglob("*")):
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        yield path
        for entry in (path, *path.rglob("*")):
            entry.chmod(0o777)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
def test_a_read_only_folder_is_searched_in_a_copy(published: Path, read_only: Path) -> None:
    copies = Path(tempfile.gettempdir()).glob("qwen3-rag-*")
    before, expected = set(copies), seen(published)

    with as_somebody_else():
        assert seen(read_only) == expected
        with searcher_at(read_only, read_only=True):
            assert set(Path(tempfile.gettempdir()).glob("qwen3-rag-*")) == before
        with pytest.raises(StoreError, match=r"cannot be written to.*`read_only=True`"):
            QdrantEdgeStore(read_only)


@pytest.mark.parametrize("cut", ["gone", "short", "empty"])
def test_a_file_that_is_cut_or_gone_is_told(published: Path, cut: str) -> None:
    [path] = published.rglob("chunk_0.mmap")
    if cut == "gone":
        path.unlink()
    else:
        os.truncate(path, 0 if cut == "empty" else path.stat().st_size - 1)

    for read_only in (True, False):
        with pytest.raises(StoreError, match=r"chunk_0.mmap .*is damaged. Restore"):
            QdrantEdgeStore(published, read_only=read_only)


def test_checksums_that_lead_out_of_the_folder_are_refused(published: Path) -> None:
    path = published / "generations" / "1" / "checksums.json"
    listed = json.loads(path.read_text())
    (published / "outside").write_text("x")
    listed["files"]["../../outside"] = "1:00000000"
    path.write_text(json.dumps(listed))

    with pytest.raises(StoreError, match=r"checksums.json .*is damaged"):
        QdrantEdgeStore(published, read_only=True)


def test_a_writer_waits_for_another_one(published: Path) -> None:
    code = f"""
import sys
from qwen3_rag_hybrid import QdrantEdgeStore
store = QdrantEdgeStore({str(published)!r})
print("open", flush=True)
sys.stdin.readline()
store.close()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match=rf"process {other.pid} .*`read_only=True`"):
            QdrantEdgeStore(published, wait=0.3)
        threading.Timer(0.3, lambda: print(file=other.stdin, flush=True)).start()
        with closing(QdrantEdgeStore(published, wait=60)) as store:
            assert store.count() == 40
