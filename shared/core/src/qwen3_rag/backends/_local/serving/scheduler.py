"""Turns requests from any thread into batches on each device.

One thread encodes text and one thread per device computes. Both alternate between requests, so that
a single query overtakes a bulk job at the next batch and small requests share a batch.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from qwen3_rag._results import FloatArray
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._futures import settle, typed_error
from qwen3_rag.backends._local.serving.batching import plan
from qwen3_rag.backends._local.serving.loaded import LoadedModel, OutOfMemory
from qwen3_rag.backends._local.serving.order import Order
from qwen3_rag.backends._local.serving.request import Request
from qwen3_rag.errors import BackendError, ModelError

__all__ = ["Scheduler"]

#: Maximum number of requests processed at a time. Further requests wait until one of these ends.
MAX_ACTIVE = 1_024

#: How many batches of tokens are encoded ahead of the device, per request.
BATCHES_AHEAD = 3

#: How long a batch that is not full waits for requests that are being encoded. It never waits for
#: requests that might come.
BATCH_WAIT_SECONDS = 0.005

#: Prompts encoded at a time, so that requests also alternate in encoding.
MAX_CHUNK = 1_024

#: Estimate for choosing how many prompts to encode next.
CHARACTERS_PER_TOKEN = 4

SHUTTING_DOWN = "The interpreter is shutting down."

logger = logging.getLogger("qwen3_rag")

#: One request's share of a batch: token sequences by the index of their prompts.
_Part: TypeAlias = tuple[Request, dict[int, TokenSequence]]


class Scheduler:
    """The worker threads of a process and the requests they process."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._models: list[LoadedModel] = []
        self._active: list[Request] = []
        self._waiting: deque[Request] = deque()
        self._jobs: dict[str, deque[Callable[[], None]]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._turns = itertools.count(1)
        self._stopped = False
        self._order = Order()
        # Wakes the encoding thread. A finaliser can put an item here even while its thread holds a
        # lock.
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def add(self, model: LoadedModel) -> None:
        """Add a model and start the threads of its devices."""
        with self._condition:
            if self._stopped:
                raise BackendError(SHUTTING_DOWN)
            self._models.append(model)
            try:
                self._start("encode", self._encode_loop)
                for device in model.devices:
                    self._jobs.setdefault(device, deque())
                    self._start(device, partial(self._compute_loop, device))
            except RuntimeError as error:
                self._models.remove(model)
                raise BackendError(
                    f"No thread can be started here ({error}). Raise the limit on processes."
                ) from error

    def remove(self, model: LoadedModel) -> None:
        """Remove a model; threads that serve no other model end."""
        with self._condition:
            if model in self._models:
                self._models.remove(model)
            self._condition.notify_all()
        self._events.put(None)

    def post(self, device: str, job: Callable[[], None]) -> None:
        """Run something on a device's thread, before its next batch."""
        with self._condition:
            if device in self._threads:  # else nothing was loaded there
                self._jobs[device].append(job)
                self._condition.notify_all()

    def call_soon(self, job: Callable[[], None]) -> None:
        """Run something short on the encoding thread. Safe to call from a finaliser."""
        self._events.put(job)

    def submit(self, request: Request, model: LoadedModel) -> None:
        """Queue a request. It ends when its future does, by result, error or cancellation."""
        request.model = model
        with self._condition:
            stopped = self._stopped
            if not stopped and not request.future.done():
                self._waiting.append(request)
                self._admit()
        if stopped:
            settle(request.future, error=BackendError(SHUTTING_DOWN))
        request.future.add_done_callback(partial(self._forget, request))
        self._events.put(None)

    def stop(self, timeout: float) -> None:
        """End all threads at interpreter exit, after the batches being computed."""
        with self._condition:
            self._stopped = True
            self._models.clear()
            requests = [*self._active, *self._waiting]
            threads = list(self._threads.values())
            self._condition.notify_all()
        for request in requests:
            settle(request.future, error=BackendError(SHUTTING_DOWN))
        self._events.put(None)
        for thread in threads:
            thread.join(timeout)

    # ------------------------------------------------------------------ bookkeeping

    def _start(self, name: str, target: Callable[[], None]) -> None:
        if name not in self._threads:
            thread = threading.Thread(target=target, name=f"qwen3-rag-{name}", daemon=True)
            thread.start()
            self._threads[name] = thread

    def _admit(self) -> None:
        while self._waiting and len(self._active) < MAX_ACTIVE:
            request = self._waiting.popleft()
            request.turn = next(self._turns)
            self._active.append(request)

    def _forget(self, request: Request, _: Future[Any]) -> None:
        """Remove a request that has ended."""
        with self._condition:
            if request in self._active:
                self._active.remove(request)
            elif request in self._waiting:
                self._waiting.remove(request)
            request.ready.clear()
            self._admit()
            self._condition.notify_all()
        self._events.put(None)

    # ------------------------------------------------------------------ encoding

    def _encode_loop(self) -> None:
        while True:
            job = self._events.get()
            try:
                if job is not None:
                    job()
                while (chunk := self._next_chunk()) is not None:
                    self._encode(*chunk)
            except BaseException as error:  # all requests depend on this thread
                self._fail(self._active, error)
            with self._condition:
                if not self._models:
                    del self._threads["encode"]
                    return

    def _next_chunk(self) -> tuple[Request, range] | None:
        """Choose what to encode next: the request of which the fewest prompts have been read."""
        with self._condition:
            candidates = [
                request
                for request in self._active
                if request.read < len(request.prompts)
                and request.model is not None
                and request.ready_tokens() < BATCHES_AHEAD * request.model.budget
            ]
            if not candidates:
                return None
            request = min(candidates, key=attrgetter("read", "turn"))
            assert request.model is not None
            characters = CHARACTERS_PER_TOKEN * request.model.budget  # about one batch
            stop = request.read
            head = ""
            while stop < len(request.prompts) and stop - request.read < MAX_CHUNK:
                prompt = request.prompts[stop]
                if prompt.head != head:  # a shared head is encoded once
                    head = prompt.head
                    characters -= len(head)
                characters -= len(prompt.body)
                stop += 1
                if characters <= 0:
                    break
            indices = range(request.read, stop)
            request.read = stop
        return request, indices

    def _encode(self, request: Request, indices: range) -> None:
        model = request.model
        assert model is not None
        assert model.tokenizer is not None
        prompts = request.prompts[indices.start : indices.stop]
        try:
            encoded = model.tokenizer.encode(prompts, request.limits, model.context)
        except BaseException as error:  # a panic in the tokenizer is not an Exception
            settle(request.future, error=typed_error(error, _not_run(model)))
            return
        with self._condition:
            if request.future.done():
                return
            for index, item in zip(indices, encoded, strict=True):
                request.put(index, item)
            self._condition.notify_all()

    # ------------------------------------------------------------------ computing

    def _compute_loop(self, device: str) -> None:
        while True:
            parts: list[_Part] = []
            job: Callable[[], None] | None = None
            until = math.inf
            with self._condition:
                while job is None and not parts:
                    if self._jobs[device]:
                        job = self._jobs[device].popleft()
                    elif not any(device in model.devices for model in self._models):
                        del self._threads[device]
                        return
                    elif self._should_wait_for_more(device) and (now := time.monotonic()) < until:
                        until = min(until, now + BATCH_WAIT_SECONDS)
                        self._condition.wait(until - now)
                    elif not (parts := self._next_batch(device)):
                        self._condition.wait()
            try:
                if job is not None:
                    job()
                else:
                    self._events.put(None)  # more can be encoded meanwhile
                    self._compute(device, parts)
            except BaseException as error:  # all requests depend on this thread
                self._fail([request for request, _ in parts], error)
            del parts, job  # they may keep a model alive

    def _ready(self, device: str) -> list[Request]:
        """List the requests with something to compute, the longest-waiting first."""
        ready = (r for r in self._active if r.ready and r.model and device in r.model.forwards)
        return sorted(ready, key=attrgetter("turn"))

    def _should_wait_for_more(self, device: str) -> bool:
        """Whether the next batch has space for requests that are being encoded."""
        ready = self._ready(device)
        if not ready or (model := ready[0].model) is None or model.forwards[device].pads:
            return False
        tokens = 0
        waiting = False
        for request in self._active:
            if request.model is model:
                tokens += request.ready_tokens()
                waiting = waiting or request.encoded < len(request.prompts)
        return waiting and tokens < model.budget

    def _next_batch(self, device: str) -> list[_Part]:
        """Take the next batch: one request's, filled up with others'."""
        ready = self._ready(device)
        if not ready:
            return []
        first, others = self._order.first(ready, device)
        model = first.model
        assert model is not None
        pads = model.forwards[device].pads
        indices = list(first.ready)
        batch = plan(list(first.ready.values()), model.budget, pads=pads)[0]
        first.turn = next(self._turns)
        parts: list[_Part] = [(first, first.take([indices[i] for i in batch]))]
        if others and not pads:
            self._fill_up(parts, others, model)
        return parts

    def _fill_up(self, parts: list[_Part], others: list[Request], model: LoadedModel) -> None:
        """Add requests that fit whole; planning part of each would take longer than it saves."""
        batch = parts[0][1].values()
        prefixes = {sequence.prefix for sequence in batch}
        free = model.budget - sum(len(sequence.ids) for sequence in batch) - sum(map(len, prefixes))
        for request in others:
            if request.model is model and (size := request.ready_tokens(prefixes)) <= free:
                free -= size
                request.turn = next(self._turns)
                part = request.take(list(request.ready))
                prefixes.update(sequence.prefix for sequence in part.values())
                parts.append((request, part))

    def _compute(self, device: str, parts: list[_Part]) -> None:
        model = parts[0][0].model
        assert model is not None
        sequences = [sequence for _, part in parts for sequence in part.values()]
        try:
            values = self._run(model, device, sequences, model.budget)
        except Exception as error:
            if len(parts) == 1:
                settle(parts[0][0].future, error=typed_error(error, _not_run(model)))
                return
            # An error that one request causes must not end the others.
            for one in parts:
                self._compute(device, [one])
            return
        start = 0
        for request, part in parts:
            self._deliver(request, list(part), values[start : start + len(part)])
            start += len(part)

    def _fail(self, requests: list[Request], error: BaseException) -> None:
        with self._condition:
            failed = list(requests)
        for request in failed:
            if request.model is not None:
                settle(request.future, error=typed_error(error, _not_run(request.model)))

    def _run(
        self, model: LoadedModel, device: str, sequences: list[TokenSequence], budget: int
    ) -> FloatArray:
        forward = model.forwards[device]
        with suppress(OutOfMemory):
            return forward.run(sequences)
        # Outside the handler, where the failed batch's tensors have been freed.
        if len(sequences) == 1:
            raise BackendError(
                f"One text of {sequences[0].length} tokens does not fit in the memory of "
                f"{device!r} beside {model.name!r}. Lower `max_length`, or choose a smaller "
                "model or another device."
            )
        size = sum(sequence.length for sequence in sequences)
        smaller = max(1, min(budget, size) // 2)
        values: FloatArray | None = None
        for batch in plan(sequences, smaller, pads=forward.pads):
            part = self._run(model, device, [sequences[i] for i in batch], smaller)
            if values is None:
                values = np.empty((len(sequences), *part.shape[1:]), dtype=np.float32)
            values[batch] = part
        assert values is not None
        if smaller < model.budget:  # only now that the smaller batches have succeeded
            model.budget = smaller
            logger.warning(
                "%s is short of memory: %r continues with %d tokens per batch. Open it with "
                "`batch_tokens` set to that to start with smaller batches.",
                device,
                model.name,
                smaller,
            )
        return values

    def _deliver(self, request: Request, indices: list[int], values: FloatArray) -> None:
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            assert request.model is not None
            text = request.first_given(indices[int(finite.argmin())])
            settle(
                request.future,
                error=ModelError(
                    f"{request.model.name!r} gave NaN or infinity for text {text}. Use dtype "
                    "'bfloat16' or 'float32' instead of 'float16'; if it is one of those already, "
                    "the checkpoint is damaged."
                ),
            )
            return
        with self._condition:
            if request.future.done():
                return
            if request.values is None:
                shape = (len(request.prompts), *values.shape[1:])
                request.values = np.empty(shape, dtype=np.float32)
            request.values[indices] = values
            request.left -= len(indices)
            request.turn = next(self._turns)
            left = request.left
        try:
            if request.on_done is not None:
                request.on_done(request.times_given(indices))
        except Exception as error:  # raised by the caller's code, which must not end this thread
            settle(request.future, error=error)
        if left == 0:
            settle(request.future, request.output())


def _not_run(model: LoadedModel) -> str:
    return f"{model.name!r} could not be run"
