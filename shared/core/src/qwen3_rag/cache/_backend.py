"""The running backend of `Cached`: looks prompts up, computes the rest and keeps it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from qwen3_rag._flow import Flow
from qwen3_rag._prompts import Prompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Backend, Capabilities, Limits, Output
from qwen3_rag.backends._futures import settle, typed_error
from qwen3_rag.cache._key import keys_for
from qwen3_rag.cache._spec import Cached
from qwen3_rag.cache._store import Entry, Store
from qwen3_rag.errors import BackendError

__all__ = ["CachedBackend"]

T = TypeVar("T")

PIECE = 2_048  # prompts to compute before their results are kept

_lock = threading.Lock()  # guards which worker a backend has

#: Those of the parent of a forked process. A child must not close their files, because it has a
#: copy of whatever the parent's thread was in the middle of.
_inherited: list[Worker] = []


class CachedBackend:
    """A backend with a cache in front of it, for one embedder or reranker."""

    def __init__(self, spec: Cached, model: str, role: Role) -> None:
        """Start the backend behind the cache, which loads and connects to nothing."""
        self._spec, self._model = spec, model
        # The working folder may be another one at the first call.
        self._path = str(Path(spec.path).absolute())
        self._inner: Backend = spec.backend.start(model, role)
        self._worker: Worker | None = None
        self._closed = False

    def open(self) -> Future[Capabilities]:
        """Open the backend behind the cache; see `Backend.open`."""
        return self._inner.open()

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Return what the file has and compute the rest; see `Backend.run`."""
        with _lock:
            if self._closed:
                raise _closed(self._model)
            if self._worker is None or self._worker.pid != os.getpid():  # or in a forked child
                if self._worker is not None:
                    self._worker.close()
                self._worker = Worker(self._path, self._spec.max_bytes, self._model)
                weakref.finalize(self, self._worker.close).atexit = False
            worker = self._worker
        call = Call(self._inner, self._spec, worker.store, prompts, limits, on_done or _ignore)
        return worker.start(call.flow())

    def close(self) -> None:
        """Close the backend and the file; see `Backend.close`."""
        with _lock:
            self._closed = True
            worker, self._worker = self._worker, None
        self._inner.close()
        if worker is not None:
            worker.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_worker": None}


class Call:
    """One call of `run`."""

    def __init__(
        self,
        inner: Backend,
        spec: Cached,
        store: Store,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None],
    ) -> None:
        """Store the arguments."""
        self._inner, self._spec, self._store = inner, spec, store
        self._prompts, self._limits, self._on_done = list(prompts), limits, on_done

    def flow(self) -> Flow[Output]:
        """Look up, compute what is missing and keep it, on the thread of the file."""
        capabilities: Capabilities = yield self._inner.open()
        if not self._prompts:
            nothing: Output = yield self._inner.run([], self._limits)
            return nothing
        make_key = keys_for(capabilities, self._spec.backend, self._limits)
        keys = [make_key(prompt) for prompt in self._prompts]
        places: dict[bytes, list[int]] = {}
        for index, key in enumerate(keys):
            places.setdefault(key, []).append(index)
        found = self._store.get(list(places), capabilities.dim or 1)
        self._report(sum(len(places[key]) for key in found))
        missing = [key for key in places if key not in found]
        for start in range(0, len(missing), PIECE):
            piece = missing[start : start + PIECE]
            firsts = [self._prompts[places[key][0]] for key in piece]
            output: Output = yield self._inner.run(firsts, self._limits, self._on_done)
            new = dict(zip(piece, _entries(output), strict=True))
            self._store.put({key: entry for key, entry in new.items() if _is_usable(entry)})
            found.update(new)
            self._report(sum(len(places[key]) - 1 for key in piece))
        return _output([found[key] for key in keys], capabilities)

    def _report(self, count: int) -> None:
        if count:
            self._on_done(count)


class Worker:
    """The thread that works on a backend's file, in one process."""

    def __init__(self, path: str, max_bytes: int | None, model: str) -> None:
        """Start the thread."""
        self.pid = os.getpid()
        self.store = Store(path, max_bytes)
        self._model = model
        # The one queue into which a finaliser, which may run anywhere, can put something.
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._futures: dict[Future[Any], None] = {}
        self._is_closed = False
        threading.Thread(
            target=_work, args=(self._tasks, self.store), name="qwen3-rag-cache", daemon=True
        ).start()

    def start(self, flow: Flow[T]) -> Future[T]:
        """Run a flow on the thread, which is free while the flow waits.

        Returns:
            A future whose cancelling cancels what the flow waits for.
        """
        future: Future[T] = Future()
        self._futures[future] = None
        future.add_done_callback(self._forget)
        self._tasks.put(lambda: self._advance(flow, future, None))
        if self._is_closed:  # meanwhile
            settle(future, error=_closed(self._model))
        return future

    def close(self) -> None:
        """End all calls with an error, and close the file. Takes no lock."""
        if self.pid != os.getpid():
            _inherited.append(self)
            return
        self._is_closed = True
        for future in list(self._futures):
            settle(future, error=_closed(self._model))
        self._tasks.put(None)

    def _advance(self, flow: Flow[T], future: Future[T], waited: Future[Any] | None) -> None:
        """Run a flow up to the next future that it waits for."""
        if future.done():
            flow.close()
            return
        try:
            step = next(flow) if waited is None else _resume(flow, waited)
        except StopIteration as stop:
            settle(future, stop.value)
        except BaseException as error:  # of any kind, because a caller is waiting
            settle(future, error=typed_error(error, "The cached model could not be run"))
        else:
            assert isinstance(step, Future)
            future.add_done_callback(lambda done: step.cancel())
            step.add_done_callback(
                lambda done: self._tasks.put(lambda: self._advance(flow, future, done))
            )

    def _forget(self, future: Future[Any]) -> None:
        self._futures.pop(future, None)


def _work(tasks: SimpleQueue[Callable[[], None] | None], store: Store) -> None:
    while (task := tasks.get()) is not None:
        task()
        del task  # it holds prompts, and the next may come in an hour
    store.close()


def _resume(flow: Flow[Any], waited: Future[Any]) -> Any:
    if waited.cancelled():
        return flow.throw(BackendError("The model's call was cancelled."))
    error = waited.exception()
    return flow.send(waited.result()) if error is None else flow.throw(error)


def _entries(output: Output) -> list[Entry]:
    values = output.values.reshape(len(output.values), -1)
    tokens = [None] * len(values) if output.tokens is None else output.tokens.tolist()
    cuts = zip(output.cut_at.tolist(), output.query_cut_at.tolist(), strict=True)
    return [
        Entry(row, count, cut_at, query_cut_at)
        for row, count, (cut_at, query_cut_at) in zip(values, tokens, cuts, strict=True)
    ]


def _is_usable(entry: Entry) -> bool:
    """Whether the numbers are right to keep: those of a broken model would outlive its repair."""
    return bool(np.isfinite(entry.values).all() and (len(entry.values) == 1 or entry.values.any()))


def _output(entries: Sequence[Entry], capabilities: Capabilities) -> Output:
    values = np.stack([entry.values for entry in entries])
    counts = [entry.tokens for entry in entries]
    return Output(
        values if capabilities.dim else values[:, 0],
        None if None in counts else np.asarray(counts, dtype=np.int64),
        np.asarray([entry.cut_at for entry in entries], dtype=np.int64),
        np.asarray([entry.query_cut_at for entry in entries], dtype=np.int64),
    )


def _ignore(count: int) -> None:
    """Take no notice of progress."""


def _closed(model: str) -> BackendError:
    return BackendError(f"{model!r} was closed. Open a new Qwen3Embedder or Qwen3Reranker.")


def _forget() -> None:
    """Start anew in a forked child, in which nobody releases what a thread held."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
