"""The cache: same numbers as without, kept apart by everything that decides them, and robust."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import multiprocessing
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import (
    BackendError,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
    Remote,
)
from qwen3_rag.backends import (
    Backend,
    BackendSpec,
    EmbedPrompt,
    Limits,
    Output,
    Prompt,
    RerankPrompt,
    Role,
)
from qwen3_rag.cache import Cached, cache_info, clear_cache
from qwen3_rag.integration import arguments_of
from qwen3_rag_testkit.backends import (
    CountingBackend,
    DeterministicBackend,
    RunningDeterministic,
    TextBackend,
)
from qwen3_rag_testkit.contracts import TEXTS, BackendContract
from qwen3_rag_testkit.guides import run_examples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "vectors.cache"


@pytest.fixture
def counting(request: pytest.FixtureRequest) -> CountingBackend:
    backend = CountingBackend(request.node.nodeid)
    backend.uses.runs.clear()
    return backend


def run(
    spec: BackendSpec,
    prompts: Sequence[Prompt],
    role: Role = "embedding",
    limits: Limits | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Output:
    backend = spec.start("model", role)
    output = backend.run(prompts, limits or Limits(), on_done).result(60)
    backend.close()
    if isinstance(spec, Cached):
        wait_until_closed(Path(spec.path))
    return output


def wait_until_closed(path: Path) -> None:
    """Wait for the thread that closes the file: the last one to close it removes the log."""
    deadline = time.monotonic() + 60
    while Path(f"{path}-wal").exists() and time.monotonic() < deadline:
        time.sleep(0.001)


class TestContract(BackendContract):
    @pytest.fixture(autouse=True)
    def in_folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "cache"

    def make_backend(self, role: Role) -> Backend:
        return Cached(DeterministicBackend(), self.path).start("model", role)


class TestContractOfABackendWithThreads(TestContract):
    def make_backend(self, role: Role) -> Backend:
        return Cached(TextBackend(), self.path).start("model", role)


class TestContractOfTheLocalEngine(TestContract):
    tolerance = 2e-4

    def make_backend(self, role: Role) -> Backend:
        kind = Qwen3Embedder if role == "embedding" else Qwen3Reranker
        return kind("tiny", cache=self.path)._backend


def test_a_hit_has_the_numbers_counts_and_cuts_of_the_model(path: Path) -> None:
    texts = [*TEXTS, "word " * 600]
    plain = Qwen3Embedder("tiny", max_length=128)
    expected = plain.embed_documents(texts, details=True)
    for _ in range(2):
        with Qwen3Embedder("tiny", max_length=128, cache=path) as embedder:
            result = embedder.embed_documents(texts, details=True)

        assert (result.vectors == expected.vectors).all()
        assert result.tokens == expected.tokens
        assert result.cut_at == expected.cut_at
    assert expected.cut_at[-1] is not None

    pairs = [("query " * 50, text) for text in texts]
    limits: dict[str, Any] = {"max_query_tokens": 20, "max_length": 160}
    scores = Qwen3Reranker("tiny", **limits).score(pairs, details=True)
    for _ in range(2):
        with Qwen3Reranker("tiny", cache=path, **limits) as reranker:
            assert reranker.score(pairs, details=True) == scores
    assert scores.query_cut_at[0] is not None


def test_a_shorter_vector_is_cut_from_the_full_one_that_is_kept(
    path: Path, counting: CountingBackend
) -> None:
    with Qwen3Embedder("model", cache=path, backend=counting) as embedder:
        full = embedder.embed_documents(["a text"])
    with Qwen3Embedder("model", dim=32, cache=path, backend=counting) as embedder:
        short = embedder.embed_documents(["a text"])

    assert len(counting.uses.prompts) == 1
    np.testing.assert_allclose(short[0], full[0, :32] / np.linalg.norm(full[0, :32]), rtol=1e-6)


def test_only_what_is_missing_is_computed_and_equal_prompts_once(
    path: Path, counting: CountingBackend
) -> None:
    spec = Cached(counting, path)
    first = [EmbedPrompt(text) for text in "abcab"]
    second = [EmbedPrompt(text) for text in "xbxac"]
    done: list[int] = []

    run(spec, first)
    output = run(spec, second, on_done=done.append)

    assert counting.uses.prompts == [EmbedPrompt(text) for text in "abcx"]
    assert (output.values == run(DeterministicBackend(), second).values).all()
    assert sum(done) == 5


def test_many_prompts_are_computed_in_order(path: Path) -> None:
    prompts: list[Prompt] = [EmbedPrompt(str(number % 5_003)) for number in range(6_000)]
    expected = run(DeterministicBackend(dim=4), prompts).values
    done: list[int] = []

    for _ in range(2):
        output = run(Cached(DeterministicBackend(dim=4), path), prompts, on_done=done.append)
        assert (output.values == expected).all()

    assert sum(done) == 12_000


VARIANTS: dict[str, tuple[dict[str, Any], Limits]] = {
    "fingerprint": ({"fingerprint": "other"}, Limits()),
    "number format": ({"variant": "bfloat16"}, Limits()),
    "context": ({"context": 512}, Limits()),
    "max_length": ({}, Limits(512)),
    "max_query_tokens": ({}, Limits(None, 512)),
    "max_document_tokens": ({}, Limits(None, None, 512)),
    "no variant": ({"variant": None}, Limits()),
}


@pytest.mark.parametrize("changed", VARIANTS)
def test_whatever_decides_the_numbers_is_part_of_the_key(
    path: Path, counting: CountingBackend, changed: str
) -> None:
    given, limits = VARIANTS[changed]
    prompts = [RerankPrompt("query", "document")]

    for _ in range(2):
        run(Cached(counting, path), prompts, "reranking")
        run(Cached(replace(counting, **given), path), prompts, "reranking", limits)

    assert len(counting.uses.prompts) == 2


def test_a_backend_that_names_no_variant_is_told_apart_by_its_specification(
    path: Path, counting: CountingBackend
) -> None:
    for context in (100, 100, 200):
        spec = replace(counting, variant=None, context=100, fingerprint="name:model")
        run(Cached(replace(spec, dim=context), path), [EmbedPrompt("a")])

    assert len(counting.uses.prompts) == 2


def test_prompts_that_differ_in_anything_are_kept_apart(
    path: Path, counting: CountingBackend
) -> None:
    embed: list[Prompt] = [
        EmbedPrompt("a"),
        EmbedPrompt("a", "Find"),
        EmbedPrompt("Instruct: Find\nQuery:a"),  # a document with the text of a query's prompt
        EmbedPrompt("a", None, ""),
        EmbedPrompt("a", "", ""),
        EmbedPrompt("b", prefix="a"),
        EmbedPrompt("ab"),
        EmbedPrompt("ab "),
    ]
    rerank: list[Prompt] = [
        RerankPrompt("q", "d"),
        RerankPrompt("d", "q"),
        RerankPrompt("q", "d", "i"),
        RerankPrompt("q\n<Query>: r", "d", "i"),
        RerankPrompt("r", "d", "i\n<Query>: q"),
    ]
    for _ in range(2):
        run(Cached(counting, path), embed)
        run(Cached(counting, path), rerank, "reranking")

    assert counting.uses.prompts == [*embed, *rerank]


def test_number_formats_of_the_local_engine_do_not_mix(path: Path) -> None:
    texts = ["Paris is the capital of France."]
    with Qwen3Embedder("tiny", dtype="bfloat16", cache=path) as embedder:
        embedder.embed_documents(texts)
    with Qwen3Embedder("tiny", dtype="float32", cache=path) as embedder:
        vectors = embedder.embed_documents(texts)

    np.testing.assert_allclose(vectors, Qwen3Embedder("tiny").embed_documents(texts), atol=1e-6)
    assert cache_info(path).entries == 2


def test_the_least_recently_used_entries_are_removed(path: Path, counting: CountingBackend) -> None:
    spec = Cached(replace(counting, dim=1_024), path, max_bytes=1_000_000)
    backend = spec.start("model", "embedding")
    always = EmbedPrompt("used in every call")

    for start in range(0, 2_000, 50):
        prompts = [EmbedPrompt(str(number)) for number in range(start, start + 50)]
        backend.run([always, *prompts], Limits()).result(60)

    assert counting.uses.prompts.count(always) == 1
    info = cache_info(path)
    assert 100 < info.entries < 250
    assert info.size <= 1_000_000
    backend.run([EmbedPrompt("1999"), EmbedPrompt("0")], Limits()).result(60)
    assert counting.uses.prompts[-1:] == [EmbedPrompt("0")]
    assert counting.uses.prompts.count(EmbedPrompt("1999")) == 1
    backend.close()


async def test_async_calls_do_not_wait_for_a_locked_file(path: Path) -> None:
    run(Cached(DeterministicBackend(), path), [EmbedPrompt("a")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # another process that writes for long
    embedder = Qwen3Embedder("model", backend=DeterministicBackend(), cache=path)

    task = asyncio.create_task(embedder.aembed_documents(["b"]))
    slept = time.monotonic()
    while not task.done() and time.monotonic() - slept < 0.5:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        assert time.monotonic() - before < 5  # the file's own limit is 10 s

    assert not task.done()
    other.execute("ROLLBACK")
    other.close()
    assert (await task).shape == (1, 64)
    embedder.close()
    assert cache_info(path).entries == 2


def test_closing_ends_a_call_that_waits(path: Path) -> None:
    class Stuck(RunningDeterministic):
        def run(self, *arguments: Any) -> Future[Output]:
            return Future()

    @dataclass(frozen=True)
    class StuckSpec(BackendSpec):
        def start(self, model: str, role: Role) -> Backend:
            return Stuck(role, 64)

    backend = Cached(StuckSpec(), path).start("model", "embedding")
    future = backend.run([EmbedPrompt("a")], Limits())
    backend.close()

    with pytest.raises(BackendError, match="'model' was closed"):
        future.result(60)


def test_cancelling_a_call_cancels_what_it_waits_for(path: Path) -> None:
    pending: Future[Output] = Future()

    @dataclass(frozen=True)
    class Waiting(BackendSpec):
        def start(self, model: str, role: Role) -> Backend:
            backend = RunningDeterministic(role, 64)
            backend.run = lambda *arguments: started.set_result(None) or pending  # type: ignore[method-assign,func-returns-value]  # a stand-in
            return backend

    started: Future[None] = Future()
    backend = Cached(Waiting(), path).start("model", "embedding")
    future = backend.run([EmbedPrompt("a")], Limits())
    started.result(60)
    future.cancel()
    deadline = time.monotonic() + 60
    while not pending.cancelled() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert pending.cancelled()
    backend.close()


def test_errors_of_the_model_reach_the_caller_and_nothing_is_kept(path: Path) -> None:
    with Qwen3Reranker("tiny", max_length=128, cache=path) as reranker:
        for _ in range(2):
            with pytest.raises(InputError, match="query"):
                reranker.score([("word " * 500, "document")])
        assert reranker.score([("query", "document")])

    assert cache_info(path).entries == 1


@pytest.mark.parametrize(
    "where", ["header", "half", "everywhere", "empty", "text", "schema", "letters"]
)
def test_a_damaged_file_gives_no_wrong_number_and_one_warning(
    path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    prompts: list[Prompt] = [EmbedPrompt(str(number)) for number in range(300)]
    expected = run(DeterministicBackend(), prompts).values
    spec = Cached(DeterministicBackend(), path)
    run(spec, prompts)
    data = bytearray(path.read_bytes())
    if where == "header":
        data[:100] = bytes(100)
    elif where == "half":
        del data[len(data) // 2 :]
    elif where == "everywhere":
        for place in range(100, len(data), 997):
            data[place] ^= 0xFF
    elif where == "empty":
        data.clear()
    elif where == "text":
        data = bytearray(b"This is no database.\n" * 1_000)[: 4 * 4_096]  # whole pages
    elif where == "schema":
        data = data.replace(b"key BLOB PRIMARY", b"kex BLOB PRIMARY")
    elif where == "letters":  # which SQLite's message repeats, and Python cannot decode
        data = data.replace(b"CREATE TABLE", b"CR\xc6ATE TABLE")
    path.write_bytes(data)

    with caplog.at_level(logging.WARNING, "qwen3_rag"):
        assert (run(spec, prompts).values == expected).all()
    warned = len(caplog.records)
    assert (run(spec, prompts).values == expected).all()
    assert (run(spec, prompts).values == expected).all()

    assert warned == (0 if where == "empty" else 1)
    assert all(str(path) in record.getMessage() for record in caplog.records)
    assert cache_info(path).entries == 300


def test_a_changed_entry_is_computed_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prompts: list[Prompt] = [EmbedPrompt(str(number)) for number in range(20)]
    expected = run(DeterministicBackend(), prompts).values
    spec = Cached(DeterministicBackend(), path)
    run(spec, prompts)
    with sqlite3.connect(path) as other:
        rows = other.execute("SELECT rowid, entry FROM entries ORDER BY rowid").fetchall()
        flipped = bytearray(rows[3][1])
        flipped[50] ^= 1
        for rowid, entry in ((1, rows[1][1]), (3, rows[0][1]), (4, bytes(flipped)), (5, "text")):
            other.execute("UPDATE entries SET entry = ? WHERE rowid = ?", (entry, rowid))
    other.close()

    assert (run(spec, prompts).values == expected).all()
    assert [record.getMessage() for record in caplog.records] == [
        f"The cache {path}: 4 entries are damaged and are computed again."
    ]
    caplog.clear()
    assert (run(spec, prompts).values == expected).all()
    assert not caplog.records


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (text)")
    other.close()
    content = path.read_bytes()

    with (
        Qwen3Embedder("model", backend=DeterministicBackend(), cache=path) as embedder,
        pytest.raises(InputError, match="a database of something else"),
    ):
        embedder.embed_documents(["a"])
    with pytest.raises(InputError, match="a database of something else"):
        clear_cache(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    other.close()
    assert path.read_bytes() == content


def test_a_path_that_cannot_be_a_file_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    spec = Cached(DeterministicBackend(), tmp_path / "file" / "cache")
    backend = spec.start("model", "embedding")

    for _ in range(3):
        assert len(backend.run([EmbedPrompt("a")], Limits()).result(60).values) == 1

    backend.close()
    assert len([record for record in caplog.records if "could not be" in record.message]) <= 2


SCRIPT = """
import logging, os, sys
from qwen3_rag.backends import EmbedPrompt, Limits
from qwen3_rag.cache import Cached
from qwen3_rag_testkit.backends import DeterministicBackend

logging.basicConfig(format="%(message)s", stream=sys.stdout)
path, start, stop, piece = sys.argv[1], *map(int, sys.argv[2:5])
exec(sys.argv[5] if len(sys.argv) > 5 else "")
backend = Cached(DeterministicBackend(dim=256), path).start("model", "embedding")
plain = DeterministicBackend(dim=256).start("model", "embedding")
print("ready", flush=True)
for first in range(start, stop, piece):
    prompts = [EmbedPrompt(str(number % 2_000)) for number in range(first, first + piece)]
    values = backend.run(prompts, Limits()).result(60).values
    assert (values == plain.run(prompts, Limits()).result(60).values).all(), first
backend.close()
print("done", flush=True)
"""


def start_process(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_eight_processes_share_a_file(path: Path) -> None:
    processes = [start_process(path, 100 * number, 2_000, 20) for number in range(8)]

    outputs = [process.communicate(timeout=300)[0] for process in processes]

    assert outputs == ["ready\ndone\n"] * 8
    assert cache_info(path).entries == 2_000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    "kills", [10, pytest.param(100, marks=pytest.mark.slow)], ids=["10 kills", "100 kills"]
)
def test_kills_leave_a_file_that_is_whole(path: Path, kills: int) -> None:
    for number in range(kills):
        process = start_process(path, 0, 10_000_000, 7 + number)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.random() / 5)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        assert output == ""  # no warning, and no wrong number

    process = start_process(path, 0, 2_000, 50)
    assert process.communicate(timeout=60)[0] == "ready\ndone\n"
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other.close()


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_costs_one_warning(path: Path) -> None:
    process = start_process(path, 0, 1_000, 50, LIMITED)

    lines = process.communicate(timeout=60)[0].splitlines()

    assert lines[0] == "ready"
    assert lines[-1] == "done"
    assert len(lines) == 3
    assert "could not be written" in lines[1]


UNPRIVILEGED = """
import numpy.random, secrets  # what this user may not be able to read
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_cannot_be_written_costs_at_most_two_warnings(path: Path, what: str) -> None:
    run(Cached(DeterministicBackend(dim=256), path), [EmbedPrompt("0")])
    for above in path.parents[:4]:
        with_execute = above.stat().st_mode | 0o055
        if os.access(above, os.W_OK):
            above.chmod(with_execute)
    path.chmod(0o444)
    if what == "folder":
        path.parent.chmod(0o555)

    lines = start_process(path, 0, 200, 50, UNPRIVILEGED).communicate(timeout=60)[0].splitlines()

    path.parent.chmod(0o755)
    assert lines[0] == "ready"
    assert lines[-1] == "done"
    assert 3 <= len(lines) <= 4
    assert all("could not be" in line for line in lines[1:-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(path: Path) -> None:
    backend = Cached(DeterministicBackend(), path).start("model", "embedding")
    expected = backend.run([EmbedPrompt("a")], Limits()).result(60).values

    def child() -> None:
        values = backend.run([EmbedPrompt("a"), EmbedPrompt("b")], Limits()).result(60).values
        backend.close()
        os._exit(0 if (values[0] == expected[0]).all() else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)

    assert process.exitcode == 0
    assert (backend.run([EmbedPrompt("a")], Limits()).result(60).values == expected).all()
    backend.run([EmbedPrompt("c")], Limits()).result(60)
    backend.close()
    assert cache_info(path).entries == 3


def test_a_specification_is_a_plain_value(path: Path) -> None:
    spec = Cached(Remote("http://localhost:1", api_key="secret"), path, max_bytes=2_000_000)

    written = json.dumps(spec.to_dict())

    assert "secret" not in written
    for other in (
        BackendSpec.from_dict(json.loads(written)),
        pickle.loads(pickle.dumps(spec)),
        copy.deepcopy(spec),
    ):
        assert other == spec


def test_equal_models_are_made_from_the_arguments_of_a_cached_one(
    path: Path, counting: CountingBackend
) -> None:
    with Qwen3Embedder("tiny", cache=path, batch_tokens=64) as embedder:
        assert arguments_of(embedder)["cache"] == str(path)
        assert arguments_of(Qwen3Embedder(**arguments_of(embedder))) == arguments_of(embedder)
    with Qwen3Reranker("model", cache=path, backend=counting) as reranker:
        again = Qwen3Reranker(**arguments_of(reranker))
        again.score([("q", "d")])
        reranker.score([("q", "d")])

    assert len(counting.uses.prompts) == 1


def test_arguments_of_the_wrong_type_are_refused_at_once(path: Path) -> None:
    with pytest.raises(InputTypeError, match="`backend` must be a `BackendSpec`, got str"):
        Cached("http://localhost", path)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputTypeError, match="path of a cache must be a string or a path, got int"):
        Qwen3Embedder("tiny", cache=5)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match="`max_bytes` must be at least 1"):
        Cached(DeterministicBackend(), path, max_bytes=5)


def test_info_and_clear(path: Path) -> None:
    before = time.time()
    run(Cached(DeterministicBackend(dim=1_024), path), [EmbedPrompt(str(n)) for n in range(500)])

    info = cache_info(path)
    assert info.entries == 500
    assert 2_000_000 < info.size < 4_000_000
    assert info.oldest is not None
    assert before <= info.oldest <= time.time()
    assert clear_cache(path) == 500
    assert cache_info(path).entries == 0
    assert cache_info(path).oldest is None
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="There is no cache at"):
        cache_info(path.parent / "other")
    assert not (path.parent / "other").exists()


def test_the_pages_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[3] / "docs" / "cache.md"
    monkeypatch.chdir(tmp_path)

    run_examples(page)

    assert cache_info("vectors.cache").entries == 0
