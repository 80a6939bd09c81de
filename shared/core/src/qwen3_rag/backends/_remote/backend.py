"""The backend of a model on a server, for one embedder or reranker."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from qwen3_rag._prompts import Prompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Capabilities, Limits, Output
from qwen3_rag.backends._checkpoint.hub import require_extra
from qwen3_rag.backends._futures import settle, typed_error
from qwen3_rag.backends._remote.loop import start
from qwen3_rag.backends._remote.spec import Remote
from qwen3_rag.errors import BackendError

__all__ = ["RemoteBackend"]

T = TypeVar("T")


class RemoteBackend:
    """Runs one model on a server."""

    def __init__(self, spec: Remote, model: str, role: Role) -> None:
        """Store the arguments; nothing is read or sent yet.

        Raises:
            MissingExtraError: httpx or tokenizers is not installed.
        """
        for package in ("httpx", "tokenizers", "huggingface_hub"):
            require_extra(package, "remote", "A model on a server")
        self._spec, self._model, self._role = spec, model, role
        self._lock = threading.Lock()
        self._calls: Calls | None = None
        self._closed = False

    def open(self) -> Future[Capabilities]:
        """Connect; see `Backend.open`."""
        return self._start(lambda session: session.open())

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Compute; see `Backend.run`."""
        return self._start(lambda session: session.run(prompts, limits, on_done))

    def close(self) -> None:
        """End unfinished requests and close the connections; see `Backend.close`."""
        with self._lock:
            self._closed = True
            calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()

    def _start(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> Future[T]:
        with self._lock:
            if self._closed:
                raise _closed(self._model)
            if self._calls is None or self._calls.pid != os.getpid():  # or in a forked child
                self._calls = Calls(self._spec, self._model, self._role)
                weakref.finalize(self, self._calls.close).atexit = False
            calls = self._calls
        return calls.start(work)

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteBackend:
        twin = RemoteBackend(self._spec, self._model, self._role)
        twin._closed = self._closed
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_calls": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class Calls:
    """The calls of one backend in one process."""

    def __init__(self, spec: Remote, model: str, role: Role) -> None:
        """Make a session, which connects at first use."""
        from qwen3_rag.backends._remote.session import Session

        self.pid = os.getpid()
        self._model = model
        self._session = Session(spec, model, role)
        self._running: dict[Future[Any], Future[Any]] = {}
        self._closed = False

    def start(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a call.

        Args:
            work: Makes its coroutine from the session.

        Returns:
            A future whose cancelling cancels the call's requests.
        """
        future: Future[T] = Future()
        running = start(work(self._session))
        self._running[future] = running
        future.add_done_callback(partial(self._stop, running))
        running.add_done_callback(partial(self._finish, future))
        return future

    def close(self) -> None:
        """End all calls with an error. Takes no lock, because a finaliser may call it."""
        if self.pid != os.getpid() or self._closed:
            return
        self._closed = True
        for future in list(self._running):
            settle(future, error=_closed(self._model))
        start(self._session.close())

    def _stop(self, running: Future[Any], future: Future[Any]) -> None:
        self._running.pop(future, None)
        running.cancel()

    def _finish(self, future: Future[Any], running: Future[Any]) -> None:
        if running.cancelled():
            settle(future, error=_closed(self._model))
        elif (error := running.exception()) is not None:
            settle(future, error=typed_error(error, "The server could not be used"))
        else:
            settle(future, running.result())


def _closed(model: str) -> BackendError:
    return BackendError(f"{model!r} was closed. Open a new Qwen3Embedder or Qwen3Reranker.")
