"""The local backend with a small checkpoint: contracts, sharing, closing, forks, many callers."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import BackendError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag._options import check_options
from qwen3_rag.backends import Backend, EmbedPrompt, Limits, Role
from qwen3_rag.backends._checkpoint.hub import Source, resolve
from qwen3_rag.backends._local.backend import LocalBackend
from qwen3_rag.backends._local.loading.weights import load_weights
from qwen3_rag.backends._local.model.forward import PackedForward
from qwen3_rag.backends._local.serving.pool import pool
from qwen3_rag.backends._local.spec import LocalSpec
from qwen3_rag_testkit.contracts import (
    TEXTS,
    BackendContract,
    EmbedderContract,
    RerankerContract,
)

WAIT = 30.0


def local(folder: Path, role: Role = "embedding", **options: Any) -> LocalBackend:
    return LocalBackend(LocalSpec(str(folder), role, check_options(options)))


class TestLocalBackend(BackendContract):
    tolerance = 1e-3  # of unnormalised hidden states up to 30

    @pytest.fixture(autouse=True)
    def folders(self, embedding_folder: Path, reranking_folder: Path) -> None:
        self.folder = {"embedding": embedding_folder, "reranking": reranking_folder}

    def make_backend(self, role: Role) -> Backend:
        return local(self.folder[role], role, dtype="float32", device="cpu")


class TestLocalEmbedder(EmbedderContract):
    tolerance = 1e-4

    @pytest.fixture(autouse=True)
    def folder(self, embedding_folder: Path) -> None:
        self.path = embedding_folder

    def make_embedder(self, **settings: Any) -> Qwen3Embedder:
        return Qwen3Embedder(str(self.path), dtype="float32", device="cpu", **settings)


class TestLocalReranker(RerankerContract):
    tolerance = 1e-4

    @pytest.fixture(autouse=True)
    def folder(self, reranking_folder: Path) -> None:
        self.path = reranking_folder

    def make_reranker(self, **settings: Any) -> Qwen3Reranker:
        return Qwen3Reranker(str(self.path), dtype="float32", device="cpu", **settings)


# ------------------------------------------------------------------ equal texts


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths in tokens of all that a model is asked to compute."""
    lengths: list[int] = []
    run = PackedForward.run

    def counting(self: Any, sequences: Any) -> Any:
        lengths.extend(sequence.length for sequence in sequences)
        return run(self, sequences)

    monkeypatch.setattr(PackedForward, "run", counting)
    return lengths


def test_equal_documents_are_embedded_once(embedder: Qwen3Embedder, computed: list[int]) -> None:
    texts = ["rain", "a much longer text about the rain", "rain", "snow", "rain"]

    result = embedder.embed_documents(texts, details=True)

    assert len(computed) == 3
    assert sum(result.tokens or ()) > sum(computed)  # tokens are told for every text given
    assert result.vectors[0].tobytes() == result.vectors[2].tobytes() == result.vectors[4].tobytes()
    np.testing.assert_allclose(result.vectors[3], embedder.embed_documents(["snow"])[0], atol=1e-5)


def test_equal_documents_are_scored_once(reranker: Qwen3Reranker, computed: list[int]) -> None:
    documents = ["rain", "a much longer text about the rain", "rain", "snow", "rain"]

    ranked = reranker.rank("weather", documents)

    assert len(computed) == 3
    logits = {hit.index: hit.logit for hit in ranked}
    assert logits[0] == logits[2] == logits[4]
    [(_, snow)] = [(hit.index, hit.logit) for hit in reranker.rank("weather", ["snow"])]
    assert logits[3] == pytest.approx(snow, abs=1e-4)


def test_texts_are_equal_by_their_characters_alone(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    class EqualToAll(str):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    class Unhashable(str):
        __hash__ = None  # type: ignore[assignment]  # the documented way to be unhashable

    texts = ["rain", "snow", "rain"]
    for kind in (EqualToAll, Unhashable):
        given = [kind(text) for text in texts]
        found = reranker.rank(kind("weather"), given, instruction=kind("Find weather"))

        np.testing.assert_array_equal(
            embedder.embed_documents(given), embedder.embed_documents(texts)
        )
        expected = reranker.rank("weather", texts, instruction="Find weather")
        assert [(hit.index, hit.logit) for hit in found] == [
            (hit.index, hit.logit) for hit in expected
        ]
        assert all(hit.document is given[hit.index] for hit in found)


# ------------------------------------------------------------------ sharing


@pytest.fixture
def no_models() -> Callable[[], int]:
    """Count the models in memory, starting from none."""
    gc.collect()
    wait_until(lambda: len(pool()) == 0)
    return lambda: len(pool())


def qwen3_threads() -> list[threading.Thread]:
    """List the engine's threads. That of requests to servers stays for other tests."""
    return [
        each
        for each in threading.enumerate()
        if each.name.startswith("qwen3-rag") and each.name != "qwen3-rag-remote"
    ]


def long_texts(count: int) -> list[str]:
    """No two alike: equal ones of a call are computed once."""
    return [f"some words {number} " * 50 for number in range(count)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def test_models_of_one_checkpoint_share_it(
    no_models: Callable[[], int], embedding_folder: Path, tmp_path: Path
) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(embedding_folder)
    alike = [
        Qwen3Embedder(str(embedding_folder)),
        Qwen3Embedder(str(embedding_folder), dim=32, instruction="Find code"),
        Qwen3Embedder(str(link), max_length=100),
    ]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda embedder: embedder.warm_up(), alike))
    assert no_models() == 1

    differing: list[dict[str, Any]] = [
        {"batch_tokens": 7},
        {"attention": "eager"},
        {"dtype": "float16"},
        {"model_kwargs": {"low_cpu_mem_usage": True}},
    ]
    others = [Qwen3Embedder(str(embedding_folder), **settings) for settings in differing]
    for count, other in enumerate(others, 2):
        other.warm_up()
        assert no_models() == count
    for embedder in (*alike, *others):
        embedder.close()


def test_the_last_user_frees_the_weights_and_ends_the_threads(
    no_models: Callable[[], int], embedding_folder: Path
) -> None:
    import torch

    def tables() -> list[object]:
        gc.collect()
        return [each for each in gc.get_objects() if type(each) is torch.nn.Embedding]

    others = tables()  # of other tests; kept, so that no id is used again
    first, second = (Qwen3Embedder(str(embedding_folder)) for _ in range(2))
    first.warm_up()
    second.warm_up()

    first.close()
    assert second.embed_documents(["still there"]).shape == (1, 64)
    second.close()

    assert no_models() == 0
    wait_until(lambda: not qwen3_threads())
    known = {id(each) for each in others}
    assert [each for each in tables() if id(each) not in known] == []


def test_a_forgotten_embedder_frees_its_weights(
    no_models: Callable[[], int], embedding_folder: Path
) -> None:
    Qwen3Embedder(str(embedding_folder)).embed_documents(["a"])
    gc.collect()

    wait_until(lambda: no_models() == 0)


def test_a_closed_embedder_says_so(embedder: Qwen3Embedder) -> None:
    embedder.embed_documents(["a"])
    embedder.close()
    embedder.close()

    with pytest.raises(BackendError, match="was closed"):
        embedder.embed_documents(["a"])


def test_close_while_a_checkpoint_is_looked_for_ends_every_waiter_with_an_error(
    no_models: Callable[[], int], embedding_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, loading = threading.Event(), threading.Event()

    def slow(source: Source) -> Any:
        loading.set()
        assert may_load.wait(WAIT)
        return resolve(source)

    monkeypatch.setattr("qwen3_rag.backends._local.serving.pool.resolve", slow)
    backend = local(embedding_folder)
    waiting = [backend.run([EmbedPrompt("a")], Limits()) for _ in range(8)]
    assert loading.wait(WAIT)

    backend.close()

    for future in waiting:
        with pytest.raises(BackendError, match="was closed"):
            future.result(WAIT)
    may_load.set()
    wait_until(lambda: not qwen3_threads())
    assert no_models() == 0


def test_close_while_weights_load_frees_them(
    no_models: Callable[[], int], embedding_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, loading = threading.Event(), threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        loading.set()
        assert may_load.wait(WAIT)
        return load_weights(*args, **options)

    monkeypatch.setattr("qwen3_rag.backends._local.loading.loader.load_weights", slow)
    embedder = Qwen3Embedder(str(embedding_folder))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(embedder.warm_up)
        assert loading.wait(WAIT)
        embedder.close()
        with pytest.raises(BackendError, match="was closed"):
            waiting.result(WAIT)
    may_load.set()

    assert no_models() == 0
    wait_until(lambda: not qwen3_threads())
    with Qwen3Embedder(str(embedding_folder)) as again:
        assert again.embed_documents(["a"]).shape == (1, 64)


class InterruptedLock:
    """Runs something after this thread has released it for the n-th time."""

    def __init__(self, count: int, then: Callable[[], object]) -> None:
        self.lock, self.thread = threading.Lock(), threading.current_thread()
        self.left, self.then = count, then

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()
        if threading.current_thread() is self.thread:
            self.left -= 1
            if self.left == 0:
                self.then()


@pytest.mark.parametrize("moment", range(1, 5))
def test_a_model_is_not_freed_under_one_who_opens_it_while_another_closes_it(
    embedding_folder: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    first, second = local(embedding_folder), local(embedding_folder)
    first.open().result(WAIT)
    lock = InterruptedLock(moment, lambda: second.open().result(WAIT))
    monkeypatch.setattr(pool(), "lock", lock)

    first.close()
    lock.left = 0  # closing may release it fewer times

    output = second.run([EmbedPrompt("a")], Limits()).result(WAIT)
    assert output.values.shape == (1, 64)
    second.close()


def test_every_waiter_of_a_failed_load_gets_an_error_of_its_own(tmp_path: Path) -> None:
    embedders = [Qwen3Embedder(str(tmp_path)) for _ in range(4)] * 2

    def fail(embedder: Qwen3Embedder) -> BaseException:
        with pytest.raises(ModelError) as caught:
            embedder.embed_documents(["a"])
        return caught.value

    with ThreadPoolExecutor(8) as threads:
        errors = list(threads.map(fail, embedders))

    assert len({id(error) for error in errors}) == len(errors)


@pytest.mark.parametrize(
    "where",
    ["_local.loading.loader.load_weights", "_checkpoint.tokens.PromptTokenizer.from_folder"],
)
def test_a_panic_while_opening_ends_the_call_and_the_next_one_opens(
    embedding_folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Panic(BaseException):
        pass

    def panic(*_: object, **__: object) -> None:
        raise Panic("index out of bounds")

    backend = local(embedding_folder, device="cpu")
    with monkeypatch.context() as broken:
        broken.setattr(f"qwen3_rag.backends.{where}", panic)
        with pytest.raises(BackendError, match="Panic: index out of bounds"):
            backend.open().result(60)
    assert backend.open().result(60).dim == 64
    backend.close()


def test_an_embedder_whose_thread_cannot_start_says_so_and_recovers(
    embedding_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    for name in ("qwen3-rag-open", "qwen3-rag-encode", "qwen3-rag-cpu"):

        def refuse(thread: threading.Thread, name: str = name) -> None:
            if thread.name == name:
                raise RuntimeError("can't start new thread")
            start(thread)

        with Qwen3Embedder(str(embedding_folder), device="cpu") as embedder:
            wait_until(lambda: not qwen3_threads())
            monkeypatch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(BackendError, match="thread"):
                embedder.embed_documents(["a"])
            monkeypatch.setattr(threading.Thread, "start", start)
            assert embedder.embed_documents(["a"]).shape == (1, 64)


def test_close_ends_work_under_way(embedding_folder: Path) -> None:
    backend = local(embedding_folder, batch_tokens=64)
    begun = threading.Event()
    prompts = [EmbedPrompt(text) for text in long_texts(5_000)]
    bulk = backend.run(prompts, Limits(), lambda _: begun.set())
    assert begun.wait(WAIT)

    backend.close()

    with pytest.raises(BackendError, match="was closed"):
        bulk.result(WAIT)


# ------------------------------------------------------------------ many callers


def test_sixteen_threads_of_250_calls(embedding_folder: Path, reranking_folder: Path) -> None:
    settings: dict[str, Any] = {"dtype": "float32", "device": "cpu"}
    with (
        Qwen3Embedder(str(embedding_folder), **settings) as embedder,
        Qwen3Reranker(str(reranking_folder), **settings) as reranker,
    ):
        vectors = embedder.embed_queries([f"query {i}" for i in range(50)])
        logits = [reranker.rank("q", [f"text {i}"])[0].logit for i in range(50)]

        def work(worker: int) -> int:
            wrong = 0
            for call in range(250):
                place = (worker * 7 + call) % 50
                if call % 2:
                    [vector] = embedder.embed_queries([f"query {place}"])
                    wrong += bool(1 - vector @ vectors[place] > 1e-5)
                else:
                    [hit] = reranker.rank("q", [f"text {place}"])
                    wrong += bool(abs(hit.logit - logits[place]) > 1e-4)
            return wrong

        with ThreadPoolExecutor(16) as threads:
            assert sum(threads.map(work, range(16))) == 0


def test_two_hundred_awaits_on_one_loop(embedder: Qwen3Embedder) -> None:
    texts = [f"text {i}" for i in range(200)]
    expected = embedder.embed_documents(texts)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(embedder.aembed_documents([text]) for text in texts))

    rows = np.concatenate(asyncio.run(all_at_once()))

    np.testing.assert_array_less(1 - (rows * expected).sum(axis=1), 1e-5)


def test_several_event_loops_at_once(embedder: Qwen3Embedder) -> None:
    expected = embedder.embed_documents(TEXTS)

    def own_loop(_: int) -> Any:
        return asyncio.run(embedder.aembed_documents(TEXTS))

    with ThreadPoolExecutor(4) as threads:
        for rows in threads.map(own_loop, range(8)):
            np.testing.assert_array_less(1 - (rows * expected).sum(axis=1), 1e-5)


def test_cancelled_awaits_are_not_computed_and_leave_the_embedder_usable(
    embedding_folder: Path, computed: list[int]
) -> None:
    texts = long_texts(1_000)

    async def cancel_some(embedder: Qwen3Embedder) -> Any:
        tasks = [
            asyncio.create_task(embedder.aembed_documents(texts[start : start + 100]))
            for start in range(0, 1_000, 100)
        ]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(result, asyncio.CancelledError) for result in done)
        return await embedder.aembed_documents(["after"])

    with Qwen3Embedder(str(embedding_folder), device="cpu", batch_tokens=256) as embedder:
        embedder.warm_up()

        assert asyncio.run(cancel_some(embedder)).shape == (1, 64)

        so_far = len(computed)
        assert so_far < 900
        assert embedder.embed_documents(["after that"]).shape == (1, 64)
        assert len(computed) == so_far + 1  # nothing of what was cancelled is left


# ------------------------------------------------------------------ processes


def _in_child(embedder: Any, connection: Any) -> None:
    try:
        connection.send(embedder.embed_documents(["after the fork", "two"]).tolist())
    except BaseException as error:
        connection.send(repr(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_works(embedder: Qwen3Embedder, busy: bool) -> None:
    expected = embedder.embed_documents(["after the fork", "two"])
    context = multiprocessing.get_context("fork")
    bulk = threading.Thread(target=embedder.embed_documents, args=(long_texts(40),))
    if busy:
        bulk.start()

    here, there = context.Pipe()
    child = context.Process(target=_in_child, args=(embedder, there))
    child.start()
    assert here.poll(60), "the child hangs"
    rows = here.recv()
    child.join(10)
    if busy:
        bulk.join()

    assert not isinstance(rows, str), rows
    np.testing.assert_array_less(1 - (np.asarray(rows) * expected).sum(axis=1), 1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("delay", [0.0, 0.005, 0.05])
def test_a_child_forked_while_the_model_loads_works(embedding_folder: Path, delay: float) -> None:
    context = multiprocessing.get_context("fork")
    with Qwen3Embedder(str(embedding_folder), dtype="float32", device="cpu") as embedder:
        loading = threading.Thread(target=embedder.warm_up)
        loading.start()
        time.sleep(delay)
        here, there = context.Pipe()
        child = context.Process(target=_in_child, args=(embedder, there))
        child.start()
        assert here.poll(60), "the child hangs"
        rows = here.recv()
        child.join(10)
        loading.join()

        assert not isinstance(rows, str), rows
        expected = embedder.embed_documents(["after the fork", "two"])
    np.testing.assert_array_less(1 - (np.asarray(rows) * expected).sum(axis=1), 1e-5)


def test_a_spawned_child_works(embedder: Qwen3Embedder) -> None:
    expected = embedder.embed_documents(["after the fork", "two"])
    code = (
        "import pickle, sys\n"
        "embedder = pickle.load(sys.stdin.buffer)\n"
        "print(embedder.embed_documents(['after the fork', 'two']).tolist())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(embedder), capture_output=True, check=True
    )

    rows = np.asarray(json.loads(done.stdout))
    np.testing.assert_array_less(1 - (rows * expected).sum(axis=1), 1e-5)


def test_an_interpreter_ends_while_work_is_under_way(embedding_folder: Path) -> None:
    code = (
        "from qwen3_rag.backends import EmbedPrompt, Limits\n"
        "from qwen3_rag.backends._local.spec import Local\n"
        f"backend = Local().start({str(embedding_folder)!r}, 'embedding')\n"
        "backend.open().result()\n"
        "texts = [f'some words {number} ' * 60 for number in range(3_000)]\n"
        "backend.run([EmbedPrompt(text) for text in texts], Limits())\n"
        "print('end')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_pickles_are_small_and_copies_independent(embedder: Qwen3Embedder) -> None:
    embedder.warm_up()

    twin = copy.deepcopy(embedder)
    twin.close()

    assert len(pickle.dumps(embedder)) < 2_000
    assert embedder.embed_documents(["a"]).shape == (1, 64)
