"""The scheduler with models in plain Python: no torch, and every pause made by the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from qwen3_rag._prompts import EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._checkpoint.encoded import Encoded, TokenSequence
from qwen3_rag.backends._local.serving import scheduler as module
from qwen3_rag.backends._local.serving.batching import GATHERED
from qwen3_rag.backends._local.serving.loaded import LoadedModel, OutOfMemory, Tokenizer
from qwen3_rag.backends._local.serving.request import Request
from qwen3_rag.backends._local.serving.scheduler import Scheduler
from qwen3_rag.errors import BackendError, InputError, ModelError

WAIT = 20.0


class LetterTokens:
    """A character is a token; a text of "!" alone cannot be encoded."""

    def encode(self, prompts: Sequence[Prompt], limits: Limits, context: int) -> list[Encoded]:
        if any(prompt.rendered == "!" for prompt in prompts):
            raise InputError("cannot encode !")
        return [Encoded(TokenSequence((), tuple(map(ord, p.rendered)))) for p in prompts]


class PairTokens:
    """The query is the prefix that its documents share."""

    def encode(self, prompts: Sequence[Prompt], limits: Limits, context: int) -> list[Encoded]:
        pairs = [(p.query, p.document) for p in prompts if isinstance(p, RerankPrompt)]
        return [Encoded(TokenSequence(tuple(map(ord, q)), tuple(map(ord, d)))) for q, d in pairs]


class SumForward:
    """Answers with the sum of the ids; pauses, refuses or fails as told."""

    pads = False

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.running = threading.Event()
        self.memory = 10**9
        self.refused = 0
        self.spoil: Callable[[TokenSequence], float | None] = lambda _: None
        self.fail: Callable[[Sequence[TokenSequence]], bool] = lambda _: False

    def run(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        self.running.set()
        assert self.may_run.wait(WAIT)
        if sum(s.length for s in sequences) > self.memory:
            self.refused += 1
            raise OutOfMemory
        if self.fail(sequences):
            raise RuntimeError("device lost")
        self.batches.append([s.length for s in sequences])
        values = [self.spoil(s) if self.spoil(s) is not None else sum(s.ids) for s in sequences]
        return np.asarray(values, dtype=np.float32)


@pytest.fixture
def forward() -> SumForward:
    return SumForward()


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler()
    yield scheduler
    scheduler.stop(WAIT)


def loaded(
    tokenizer: Tokenizer,
    forwards: dict[str, SumForward],
    *,
    context: int = 100,
    budget: int = 10,
) -> LoadedModel:
    return LoadedModel(
        key=object(),
        name="sum",
        devices=tuple(forwards),
        budget=budget,
        tokenizer=tokenizer,
        context=context,
        forwards=dict(forwards),
    )


@pytest.fixture
def model(scheduler: Scheduler, forward: SumForward) -> LoadedModel:
    model = loaded(LetterTokens(), {"one": forward})
    scheduler.add(model)
    return model


def request(*texts: str, on_done: Callable[[int], None] | None = None) -> Request:
    return Request([EmbedPrompt(text) for text in texts], Limits(), on_done)


def submit(scheduler: Scheduler, model: LoadedModel, *texts: str, **options: Any) -> Request:
    made = request(*texts, **options)
    scheduler.submit(made, model)
    return made


def several(count: int, length: int) -> list[str]:
    """Texts of one length, no two alike: equal ones of a call are computed once."""
    return [f"{number:0{length}}" for number in range(count)]


def value(text: str) -> int:
    return sum(map(ord, text))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.001)


def test_results_come_in_input_order(scheduler: Scheduler, model: LoadedModel) -> None:
    texts = ["ccc", "a", "bbbbbbbbbbbbbbbbbbbb", "dd"]

    output = submit(scheduler, model, *texts).future.result(WAIT)

    assert output.values.tolist() == [value(text) for text in texts]
    assert output.tokens is not None
    assert output.tokens.tolist() == [3, 1, 20, 2]


def test_batches_keep_to_the_budget(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    submit(scheduler, model, *several(100, 4)).future.result(WAIT)

    assert max(sum(batch) for batch in forward.batches) <= 10
    assert len(forward.batches) <= 52


def test_small_requests_share_a_batch(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    first = submit(scheduler, model, "x")
    assert forward.running.wait(WAIT)
    others = [submit(scheduler, model, "yy") for _ in range(4)]
    wait_until(lambda: all(r.ready for r in others))

    forward.may_run.set()
    for one in [first, *others]:
        one.future.result(WAIT)

    assert forward.batches == [[1], [2, 2, 2, 2]]


class HeldTokens(LetterTokens):
    """Encodes nothing before it may start, and "b" when told to."""

    def __init__(self) -> None:
        self.may_start = threading.Event()
        self.may_encode = threading.Event()

    def encode(self, prompts: Sequence[Prompt], limits: Limits, context: int) -> list[Encoded]:
        assert self.may_start.wait(WAIT)
        if any(prompt.rendered == "b" for prompt in prompts):
            assert self.may_encode.wait(WAIT)
        return super().encode(prompts, limits, context)


@pytest.mark.parametrize(("wait_seconds", "batches"), [(2 * WAIT, [[1, 1]]), (0.001, [[1], [1]])])
def test_a_batch_waits_for_requests_that_are_being_encoded_but_not_for_long(
    wait_seconds: float,
    batches: list[list[int]],
    scheduler: Scheduler,
    forward: SumForward,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH_WAIT_SECONDS", wait_seconds)
    tokens = HeldTokens()
    model = loaded(tokens, {"one": forward})
    scheduler.add(model)
    first, second = (submit(scheduler, model, text) for text in "ab")
    tokens.may_start.set()  # both are there before either is encoded
    wait_until(lambda: second.read == 1)
    if wait_seconds < WAIT:
        first.future.result(WAIT)
    tokens.may_encode.set()

    assert first.future.result(WAIT).values.tolist() == [value("a")]
    assert second.future.result(WAIT).values.tolist() == [value("b")]
    assert forward.batches == batches


def test_a_full_batch_waits_for_nobody(
    scheduler: Scheduler, forward: SumForward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_WAIT_SECONDS", 2 * WAIT)
    tokens = HeldTokens()
    model = loaded(tokens, {"one": forward})
    scheduler.add(model)
    first, second = (submit(scheduler, model, text) for text in ("a" * 10, "b"))
    tokens.may_start.set()

    assert first.future.result(WAIT).values.tolist() == [10 * value("a")]
    tokens.may_encode.set()
    assert second.future.result(WAIT).values.tolist() == [value("b")]


@pytest.mark.parametrize("length", [3, 60, 200])
def test_a_query_of_any_length_is_computed_for_many_documents_at_once(
    scheduler: Scheduler, forward: SumForward, length: int
) -> None:
    model = loaded(PairTokens(), {"one": forward}, context=1_000, budget=100)
    scheduler.add(model)
    forward.may_run.clear()
    pairs = Request([RerankPrompt("q" * length, text) for text in several(100, 10)], Limits())
    scheduler.submit(pairs, model)
    assert forward.running.wait(WAIT)
    wait_until(lambda: pairs.ready_tokens() >= module.BATCHES_AHEAD * model.budget)

    forward.may_run.set()
    pairs.future.result(WAIT)

    # All that the budget has room for, or as many as their whole lengths allow.
    each = min(10, GATHERED * 100 // (length + 10))
    assert len(forward.batches) <= 2 * 100 / each


def test_a_single_query_overtakes_a_bulk_job_at_the_next_batch(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    bulk = submit(scheduler, model, *several(50, 10))
    assert forward.running.wait(WAIT)
    single = submit(scheduler, model, "abc")
    wait_until(lambda: bool(single.ready))

    forward.may_run.set()
    single.future.result(WAIT)
    bulk.future.result(WAIT)

    assert forward.batches[:2] == [[10], [3]]


def test_a_single_query_does_not_wait_for_each_of_several_bulk_jobs(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    bulks = [submit(scheduler, model, *several(3, 10)) for _ in range(4)]
    assert forward.running.wait(WAIT)
    wait_until(lambda: all(bulk.encoded == 3 for bulk in bulks))
    single = submit(scheduler, model, "ab")
    wait_until(lambda: bool(single.ready))

    forward.may_run.set()
    for one in (single, *bulks):
        one.future.result(WAIT)

    assert forward.batches[:3] == [[10], [2], [10]]


@pytest.mark.parametrize("query", ["ab", "abcdefghi"])
def test_a_bulk_job_is_not_starved_by_queries(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward, query: str
) -> None:
    bulk = submit(scheduler, model, *several(20, 10))
    singles = 0
    while not bulk.future.done() and singles < 2_000:
        submit(scheduler, model, query).future.result(WAIT)
        singles += 1

    bulk.future.result(WAIT)
    assert singles < 200


def test_small_requests_that_keep_coming_leave_every_other_batch_to_a_bulk_job(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    bulk = submit(scheduler, model, *several(4, 10))
    assert forward.running.wait(WAIT)
    smalls = [submit(scheduler, model, "ab") for _ in range(30)]
    wait_until(lambda: bulk.encoded == 4 and all(bool(one.ready) for one in smalls))

    forward.may_run.set()
    for one in (bulk, *smalls):
        one.future.result(WAIT)

    sizes = [sum(batch) for batch in forward.batches]
    assert [max(batch) for batch in forward.batches[:7]] == [10, 2, 10, 2, 10, 2, 10]
    assert max(sizes) <= 10


def test_encoding_stays_a_few_batches_ahead(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    texts = several(1_000, 10)
    bulk = submit(scheduler, model, *texts)
    assert forward.running.wait(WAIT)
    time.sleep(0.05)

    assert bulk.ready_tokens() <= (module.BATCHES_AHEAD + 4) * model.budget
    forward.may_run.set()
    assert bulk.future.result(WAIT).values.tolist() == [value(text) for text in texts]


def test_requests_beyond_the_bound_wait_their_turn(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ACTIVE", 2)
    forward.may_run.clear()
    made = [submit(scheduler, model, "abcdefgh") for _ in range(5)]
    assert forward.running.wait(WAIT)
    wait_until(lambda: made[1].read > 0)

    assert [r.read for r in made[2:]] == [0, 0, 0]
    forward.may_run.set()
    for one in made:
        assert one.future.result(WAIT).values.tolist() == [value("abcdefgh")]


def test_a_cancelled_request_frees_its_place(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ACTIVE", 2)
    forward.may_run.clear()
    first, second, third, fourth = (submit(scheduler, model, "abcdefgh") for _ in range(4))
    assert forward.running.wait(WAIT)

    assert second.future.cancel()
    wait_until(lambda: third.read > 0)
    assert fourth.read == 0
    assert fourth.future.cancel()

    forward.may_run.set()
    assert first.future.result(WAIT).values.tolist() == [value("abcdefgh")]
    assert third.future.result(WAIT).values.tolist() == [value("abcdefgh")]
    with pytest.raises(CancelledError):
        second.future.result(WAIT)
    assert len(forward.batches) == 2


def test_cancelling_a_running_bulk_job_stops_it(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    bulk = submit(scheduler, model, *several(100, 10))
    assert forward.running.wait(WAIT)
    bulk.future.cancel()
    forward.may_run.set()

    submit(scheduler, model, "a").future.result(WAIT)

    assert len(forward.batches) == 2


def test_out_of_memory_halves_the_budget_and_goes_on(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward, caplog: pytest.LogCaptureFixture
) -> None:
    forward.memory = 5
    texts = [c * 2 for c in "abcdefghijklmnop"]

    output = submit(scheduler, model, *texts).future.result(WAIT)

    assert output.values.tolist() == [value(text) for text in texts]
    assert model.budget <= 5
    assert f"continues with {model.budget} tokens per batch" in caplog.text
    assert max(sum(batch) for batch in forward.batches) <= 5
    refused = forward.refused
    submit(scheduler, model, *texts).future.result(WAIT)
    assert forward.refused == refused


def test_a_shortage_of_memory_that_passes_leaves_the_batches_as_they_were(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.memory = 0
    with pytest.raises(BackendError, match="does not fit in the memory"):
        submit(scheduler, model, "ab", "cd").future.result(WAIT)
    forward.memory = 100

    submit(scheduler, model, *several(5, 2)).future.result(WAIT)

    assert forward.batches == [[2] * 5]


def test_one_text_too_large_for_memory_is_named(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.memory = 4

    with pytest.raises(BackendError, match="One text of 5 tokens does not fit in the memory"):
        submit(scheduler, model, "abcde").future.result(WAIT)

    assert submit(scheduler, model, "abc").future.result(WAIT).values.tolist() == [value("abc")]


def test_one_requests_failure_is_not_its_neighbours(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.fail = lambda sequences: any(s.ids[0] == ord("!") for s in sequences)
    forward.may_run.clear()
    first = submit(scheduler, model, "x")
    assert forward.running.wait(WAIT)
    bad, good = submit(scheduler, model, "!!"), submit(scheduler, model, "yy")
    wait_until(lambda: bool(bad.ready and good.ready))
    forward.may_run.set()

    with pytest.raises(BackendError, match="RuntimeError: device lost"):
        bad.future.result(WAIT)
    assert good.future.result(WAIT).values.tolist() == [value("yy")]
    assert first.future.result(WAIT).values.tolist() == [value("x")]


def test_encoding_errors_reach_their_caller_only(scheduler: Scheduler, model: LoadedModel) -> None:
    bad, good = submit(scheduler, model, "a", "!"), submit(scheduler, model, "a")

    with pytest.raises(InputError, match="cannot encode !"):
        bad.future.result(WAIT)
    assert good.future.result(WAIT).values.tolist() == [value("a")]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_raise_and_name_the_text(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward, number: float
) -> None:
    forward.spoil = lambda sequence: number if sequence.ids[0] == ord("b") else None

    with pytest.raises(ModelError, match="NaN or infinity for text 1"):
        submit(scheduler, model, "a", "b", "c").future.result(WAIT)


def test_equal_texts_of_a_call_are_computed_once(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    texts = ["aaa", "bb", "aaa", "c" * 10, "bb", "aaa", "d"] * 3

    output = submit(scheduler, model, *texts).future.result(WAIT)

    assert sorted(length for batch in forward.batches for length in batch) == [1, 2, 3, 10]
    assert output.values.tolist() == [value(text) for text in texts]
    assert output.tokens is not None
    assert output.tokens.tolist() == [len(text) for text in texts]


def test_equal_texts_all_count_as_done_with_theirs(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    done: list[int] = []

    submit(
        scheduler, model, *["a" * 10] * 5, *["b" * 10] * 2, "c" * 10, on_done=done.append
    ).future.result(WAIT)

    assert sorted(done) == [1, 2, 5]


def test_a_number_that_is_not_finite_names_the_callers_place_behind_equal_texts(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.spoil = lambda sequence: float("nan") if sequence.ids[0] == ord("b") else None

    with pytest.raises(ModelError, match="NaN or infinity for text 3"):
        submit(scheduler, model, "a", "a", "a", "b", "c", "b").future.result(WAIT)


def test_progress_adds_up_and_its_errors_end_the_request_only(
    scheduler: Scheduler, model: LoadedModel
) -> None:
    done: list[int] = []
    submit(scheduler, model, *several(9, 4), on_done=done.append).future.result(WAIT)
    assert sum(done) == 9

    def broken(count: int) -> None:
        raise ValueError("no bar")

    with pytest.raises(ValueError, match="no bar"):
        submit(scheduler, model, "a", on_done=broken).future.result(WAIT)
    submit(scheduler, model, "a").future.result(WAIT)


def test_a_panic_ends_its_request_and_not_the_thread(
    scheduler: Scheduler,
    model: LoadedModel,
    forward: SumForward,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Panic(BaseException):
        pass

    def fail(*_: object) -> Any:
        raise Panic("index out of bounds")

    forward.fail = fail
    with pytest.raises(BackendError, match="Panic: index out of bounds"):
        submit(scheduler, model, "a").future.result(WAIT)
    forward.fail = lambda _: False

    with monkeypatch.context() as broken:
        broken.setattr(model.tokenizer, "encode", fail)
        with pytest.raises(BackendError, match="Panic"):
            submit(scheduler, model, "a").future.result(WAIT)

    assert submit(scheduler, model, "a").future.result(WAIT).values.tolist() == [value("a")]


def test_calls_after_stopping_end_with_an_error(scheduler: Scheduler, model: LoadedModel) -> None:
    scheduler.stop(WAIT)

    with pytest.raises(BackendError, match="shutting down"):
        submit(scheduler, model, "a").future.result(WAIT)
    with pytest.raises(BackendError, match="shutting down"):
        scheduler.add(model)


def test_several_devices_share_a_bulk_job(scheduler: Scheduler) -> None:
    forwards = {"one": SumForward(), "two": SumForward()}
    model = loaded(LetterTokens(), forwards)
    for forward in forwards.values():
        forward.may_run.clear()
    scheduler.add(model)

    texts = several(60, 10)
    bulk = submit(scheduler, model, *texts)
    for forward in forwards.values():
        assert forward.running.wait(WAIT)
        forward.may_run.set()

    expected = [value(text) for text in texts]
    assert bulk.future.result(WAIT).values.tolist() == expected
    assert all(forward.batches for forward in forwards.values())


def test_threads_end_with_the_last_model(scheduler: Scheduler, forward: SumForward) -> None:
    before = set(threading.enumerate())
    model = loaded(LetterTokens(), {"one": forward})
    scheduler.add(model)
    submit(scheduler, model, "a").future.result(WAIT)
    threads = set(threading.enumerate()) - before
    assert {thread.name for thread in threads} == {"qwen3-rag-encode", "qwen3-rag-one"}

    scheduler.remove(model)

    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_stopping_ends_waiting_requests_with_an_error(
    scheduler: Scheduler, model: LoadedModel, forward: SumForward
) -> None:
    forward.may_run.clear()
    bulk = submit(scheduler, model, *several(3, 10))
    assert forward.running.wait(WAIT)
    stopper = threading.Thread(target=scheduler.stop, args=(WAIT,))
    stopper.start()

    with pytest.raises(BackendError, match="shutting down"):
        bulk.future.result(WAIT)
    forward.may_run.set()
    stopper.join(WAIT)
    assert not stopper.is_alive()
