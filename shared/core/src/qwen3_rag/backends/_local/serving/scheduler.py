"""Requests from any thread to batches on each device, fairly and with bounded work in hand.

One thread encodes text, one thread per device computes. Both take requests in turns, so that a
single query overtakes a bulk job at the next batch, and small requests share a batch.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import numpy as np

from qwen3_rag._results import FloatArray
from qwen3_rag.backends._local.serving.batching import TokenSequence, plan
from qwen3_rag.backends._local.serving.loaded import LoadedModel, OutOfMemory
from qwen3_rag.backends._local.serving.request import Request, settle
from qwen3_rag.errors import BackendError, ModelError, Qwen3RagError

__all__ = ["Scheduler"]

#: Requests worked on at a time. Further ones wait, unread, for one of these to end.
MAX_ACTIVE = 1_024

#: Batches' worth of tokens encoded ahead of the device, per request.
BATCHES_AHEAD = 3

#: Seconds a batch that is not full waits for requests that are being encoded. It never waits for
#: requests that may come.
BATCH_WAIT_SECONDS = 0.005

SHUTTING_DOWN = "The interpreter is shutting down."

#: Prompts encoded at a time, so that requests take turns in encoding too.
MAX_CHUNK = 1_024


logger = logging.getLogger("qwen3_rag")

#: One request's share of a batch: the places of its prompts and their ids.
_Part: TypeAlias = tuple[Request, dict[int, TokenSequence]]


class Scheduler:
    """The threads of one process and what they have in hand."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._models: list[LoadedModel] = []
        self._active: list[Request] = []
        self._waiting: deque[Request] = deque()
        self._jobs: dict[str, deque[Callable[[], None]]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._turns = itertools.count(1)
        self._stopped = False
        # Wakes the encoding thread. Unlike a lock it may be used by a finaliser, which can run
        # anywhere, in the middle of anything.
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def add(self, model: LoadedModel) -> None:
        """Take on a model; its devices get a thread each."""
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
        """Let a model go; threads that serve no other end."""
        with self._condition:
            if model in self._models:
                self._models.remove(model)
            self._condition.notify_all()
        self._events.put(None)

    def post(self, device: str, job: Callable[[], None]) -> None:
        """Run something on a device's thread, before its next batch."""
        with self._condition:
            if device in self._threads:  # else there is nothing on it
                self._jobs[device].append(job)
                self._condition.notify_all()

    def call_soon(self, job: Callable[[], None]) -> None:
        """Run something short on the encoding thread. Safe to call from a finaliser."""
        self._events.put(job)

    def submit(self, request: Request, model: LoadedModel) -> None:
        """Queue a request. Its future ends it, whoever ends the future."""
        request.model = model
        with self._condition:
            stopped = self._stopped
            if not stopped and not request.future.done():
                self._waiting.append(request)
                self._admit()
        if stopped:
            settle(request.future, error=BackendError(SHUTTING_DOWN))
        request.future.add_done_callback(lambda _: self._forget(request))
        self._events.put(None)

    def stop(self, timeout: float) -> None:
        """End all threads at interpreter exit; a batch under way is waited for."""
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

    def _forget(self, request: Request) -> None:
        """Free the place of a request that ended or was cancelled."""
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
            except BaseException as error:  # this thread is everybody's and must go on
                self._fail(self._active, error)
            with self._condition:
                if not self._models:
                    del self._threads["encode"]
                    return

    def _next_chunk(self) -> tuple[Request, range] | None:
        """Choose what to encode next: the request that has been read the least."""
        with self._condition:
            hungry = [
                request
                for request in self._active
                if request.read < len(request.prompts)
                and request.model is not None
                and request.tokens_ahead() < BATCHES_AHEAD * request.model.budget
            ]
            if not hungry:
                return None
            request = min(hungry, key=lambda r: (r.read, r.turn))
            assert request.model is not None
            # About one batch's worth, going by four characters a token.
            room = 4 * request.model.budget
            stop = request.read
            head = ""
            while stop < len(request.prompts) and stop - request.read < MAX_CHUNK and room > 0:
                prompt = request.prompts[stop]
                if prompt.head != head:  # else its tokens are there already
                    head = prompt.head
                    room -= len(head)
                room -= prompt.size
                stop += 1
            places = range(request.read, stop)
            request.read = stop
        return request, places

    def _encode(self, request: Request, places: range) -> None:
        model = request.model
        assert model is not None
        assert model.tokenizer is not None
        try:
            encoded = model.tokenizer.encode(
                [request.prompts[place] for place in places], request.limits, model.context
            )
        except BaseException as error:  # a panic in the tokenizer is not an Exception
            settle(request.future, error=_as_backend_error(error, model))
            return
        with self._condition:
            if request.future.done():
                return
            for place, item in zip(places, encoded, strict=True):
                request.put(place, item.sequence)
                request.tokens[place] = item.sequence.length
                request.cut_at[place] = item.cut_at
                request.query_cut_at[place] = item.query_cut_at
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
                    self._events.put(None)  # there is room to encode more, meanwhile
                    self._compute(device, parts)
            except BaseException as error:  # this thread is everybody's and must go on
                self._fail([request for request, _ in parts], error)
            del parts, job  # they may hold a model

    def _ready(self, device: str) -> list[Request]:
        """Who has something to compute, the longest-waiting first."""
        ready = (r for r in self._active if r.ready and r.model and device in r.model.forwards)
        return sorted(ready, key=lambda r: r.turn)

    def _should_wait_for_more(self, device: str) -> bool:
        """Tell whether the next batch has room for requests that are being encoded."""
        ready = self._ready(device)
        if not ready or (model := ready[0].model) is None or model.forwards[device].pads:
            return False
        tokens = sum(r.tokens_ahead() for r in ready if r.model is model)
        return tokens < model.budget and any(
            r.model is model and r.encoded < len(r.prompts) for r in self._active
        )

    def _next_batch(self, device: str) -> list[_Part]:
        """Take the next batch: the longest-waiting request's, filled up with others'."""
        ready = self._ready(device)
        if not ready:
            return []
        leader = ready[0]
        model = leader.model
        assert model is not None
        pads = model.forwards[device].pads
        places = list(leader.ready)
        first = plan(list(leader.ready.values()), model.budget, pads=pads)[0]
        leader.turn = next(self._turns)
        parts: list[_Part] = [(leader, leader.take([places[i] for i in first]))]
        taken = parts[0][1].values()
        held = {sequence.prefix for sequence in taken}
        room = model.budget - sum(len(sequence.ids) for sequence in taken) - sum(map(len, held))
        for request in ready[1:] if not pads else []:
            # Only those that fit whole: planning each would take longer than computing them.
            if request.model is model and (size := request.tokens_ahead(held)) <= room:
                room -= size
                request.turn = next(self._turns)
                part = request.take(list(request.ready))
                held.update(sequence.prefix for sequence in part.values())
                parts.append((request, part))
        return parts

    def _compute(self, device: str, parts: list[_Part]) -> None:
        model = parts[0][0].model
        assert model is not None
        sequences = [sequence for _, part in parts for sequence in part.values()]
        try:
            values = self._run(model, device, sequences, model.budget)
        except Exception as error:
            if len(parts) == 1:
                settle(parts[0][0].future, error=_as_backend_error(error, model))
                return
            # One request's trouble is not its neighbours'.
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
                settle(request.future, error=_as_backend_error(error, request.model))

    def _run(
        self, model: LoadedModel, device: str, sequences: list[TokenSequence], budget: int
    ) -> FloatArray:
        forward = model.forwards[device]
        with suppress(OutOfMemory):
            return forward.run(sequences)
        # Outside any handler, so that the failed batch's tensors are gone.
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
        if smaller < model.budget:  # now that it has helped
            model.budget = smaller
            logger.warning(
                "Memory of %s is short: %r goes on with %d tokens per batch. Open it with that as "
                "`batch_tokens`, and it begins so.",
                device,
                model.name,
                smaller,
            )
        return values

    def _deliver(self, request: Request, places: list[int], values: FloatArray) -> None:
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            assert request.model is not None
            place = request.given_at(places[int(finite.argmin())])
            settle(
                request.future,
                error=ModelError(
                    f"{request.model.name!r} gave NaN or infinity for text "
                    f"{place}. Use dtype 'bfloat16' or 'float32' instead "
                    "of 'float16'; if it is one of those already, the checkpoint is damaged."
                ),
            )
            return
        with self._condition:
            if request.future.done():
                return
            if request.values is None:
                shape = (len(request.prompts), *values.shape[1:])
                request.values = np.empty(shape, dtype=np.float32)
            request.values[places] = values
            request.left -= len(places)
            request.turn = next(self._turns)
            left = request.left
        try:
            if request.on_done is not None:
                request.on_done(request.given(places))
        except Exception as error:  # the caller's own code, which must not end this thread
            settle(request.future, error=error)
        if left == 0:
            settle(request.future, request.output())


def _as_backend_error(error: BaseException, model: LoadedModel) -> Exception:
    if isinstance(error, Qwen3RagError):
        return error
    # A caller may keep the error for long; the batch's tensors must not stay with it.
    traceback.clear_frames(error.__traceback__)
    wrapped = BackendError(f"{model.name!r} could not be run: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
