"""The local backend, which runs a model from the process's pool for one embedder or reranker."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from qwen3_rag._prompts import Prompt
from qwen3_rag.backends._base import Capabilities, Limits, Output
from qwen3_rag.backends._checkpoint.hub import require_extra
from qwen3_rag.backends._futures import settle, typed_error
from qwen3_rag.backends._local.serving.loaded import LoadedModel
from qwen3_rag.backends._local.serving.pool import OPENING_FAILED, ModelPool, pool
from qwen3_rag.backends._local.serving.request import Request
from qwen3_rag.backends._local.spec import CallerModel, LocalSpec
from qwen3_rag.errors import BackendError

__all__ = ["LocalBackend"]


class LocalBackend:
    """Runs one model in this process, shared with all other backends of the same model."""

    def __init__(self, spec: LocalSpec, caller: CallerModel | None = None) -> None:
        """Store the arguments; nothing is imported, read or downloaded yet.

        Args:
            spec: Which checkpoint to load, and how.
            caller: A model and tokenizer that the caller has loaded, used instead.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        for package in ("torch", "transformers"):
            require_extra(package, "local", "Running the models in this process")
        self.spec = spec
        self._caller = caller
        self._ref: ModelRef | None = None
        self._closed = False

    def open(self) -> Future[Capabilities]:
        """Load the model; see `Backend.open`."""
        future: Future[Capabilities] = Future()
        self._claim().use(future, lambda model: settle(future, model.capabilities))
        return future

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Compute; see `Backend.run`."""
        request = Request(prompts, limits, on_done)
        ref = self._claim()
        name = self.spec.model  # not `self`: a request must not keep its backend alive

        def submit(model: LoadedModel) -> None:
            if not prompts:
                settle(request.future, _empty(model))
            elif model.gone:  # closed in the meantime
                settle(request.future, error=_closed(name))
            else:
                ref.pool.scheduler.submit(request, model)

        ref.use(request.future, submit)
        return request.future

    def close(self) -> None:
        """Release the model; see `Backend.close`."""
        with pool().lock:
            self._closed = True
            ref, self._ref = self._ref, None
            self._caller = None
        if ref is not None and ref.pid == os.getpid():
            ref.close()

    def _claim(self) -> ModelRef:
        ref = self._ref
        if ref is not None and ref.pid == os.getpid():
            return ref
        current = pool()
        with current.lock:
            if self._closed:
                raise _closed(self.spec.model)
            ref = self._ref
            if ref is None or ref.pid != os.getpid():  # first use, or in a forked child
                ref = self._ref = ModelRef(current, self.spec, self._caller)
                # A finaliser may run while its thread holds any lock, so it must not take one.
                weakref.finalize(self, current.scheduler.call_soon, ref.close).atexit = False
            return ref

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalBackend:
        twin = LocalBackend(self.spec, self._caller)
        twin._closed = self._closed
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # Pickling the caller's model raises an error that says what to do instead.
        return {
            "spec": self.spec,
            "_caller": self._caller,
            "_ref": None,
            "_closed": self._closed,
        }


class ModelRef:
    """A backend's reference to a model in the pool, from first use to closing."""

    def __init__(self, pool: ModelPool, spec: LocalSpec, caller: CallerModel | None) -> None:
        self.pool = pool
        self.pid = os.getpid()
        self._spec = spec
        self._caller = caller
        self._model: LoadedModel | None = None
        self._opening = False
        self._is_open = False
        self._closed = False
        self._waiting: dict[Future[Any], Callable[[LoadedModel], None]] = {}
        self._futures: set[Future[Any]] = set()

    def use(self, future: Future[Any], then: Callable[[LoadedModel], None]) -> None:
        """Call `then` with the loaded model, loading it first if need be.

        Args:
            future: The future that the caller waits for; it gets the error if there is one.
            then: Must not block.
        """
        start = False
        with self.pool.lock:
            closed = self._closed
            model = self._model if self._is_open else None
            if not closed:
                self._futures.add(future)
                if model is None:
                    self._waiting[future] = then
                    start, self._opening = not self._opening, True
        if closed:
            settle(future, error=_closed(self._spec.model))
            return
        future.add_done_callback(self._forget)
        if model is not None:
            then(model)
        elif start:
            # On a separate thread: a download may take minutes, while other models keep working.
            try:
                threading.Thread(target=self._open, name="qwen3-rag-open", daemon=True).start()
            except RuntimeError as error:
                self._opened(None, typed_error(error, OPENING_FAILED))

    def close(self) -> None:
        """End every unfinished request with an error and release the model."""
        with self.pool.lock:
            self._closed = True
            model, self._model = self._model, None
            self._is_open = False
            self._caller = None
            futures, self._futures = list(self._futures), set()
            self._waiting.clear()
        for future in futures:
            settle(future, error=_closed(self._spec.model))
        if model is not None:
            self.pool.release(model)

    def _open(self) -> None:
        try:
            model = self.pool.acquire(self._spec, self._caller)
        except BaseException as error:  # of any kind, because callers are waiting
            self._opened(None, typed_error(error, OPENING_FAILED))
            return
        with self.pool.lock:
            closed = self._closed
            if not closed:
                self._model = model
        if closed:
            self.pool.release(model)
        else:
            model.loaded.add_done_callback(lambda loaded: self._opened(model, loaded.exception()))

    def _opened(self, model: LoadedModel | None, error: BaseException | None) -> None:
        with self.pool.lock:
            if self._model is not model:  # closed in the meantime, which released the model
                return
            self._opening = False
            waiting, self._waiting = self._waiting, {}
            self._is_open = error is None
            if error is not None:
                self._model = None
        if error is not None and model is not None:
            self.pool.release(model)
        for future, then in waiting.items():
            if error is not None:
                # One exception raised in many threads would collect all their tracebacks.
                copy = type(error)(*error.args)
                copy.__cause__ = error.__cause__
                settle(future, error=copy)
            elif model is not None:
                then(model)

    def _forget(self, future: Future[Any]) -> None:
        with self.pool.lock:
            self._futures.discard(future)
            self._waiting.pop(future, None)


def _closed(model: str) -> BackendError:
    return BackendError(
        f"{model!r} was closed. Open a new Qwen3Embedder or Qwen3Reranker; the model itself stays "
        "shared with others that are open."
    )


def _empty(model: LoadedModel) -> Output:
    dim = model.capabilities.dim if model.capabilities else 0
    none = np.zeros(0, dtype=np.int64)
    return Output(np.zeros((0, dim) if dim else 0, dtype=np.float32), none, none, none)
