"""The backend of a model on a server, for one embedder or reranker."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from qwen3_rag._prompts import Prompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Capabilities, Limits, Output
from qwen3_rag.backends._checkpoint.hub import require_extra
from qwen3_rag.backends._futures import settle, typed_error
from qwen3_rag.backends._remote.loop import start
from qwen3_rag.backends._remote.spec import Remote
from qwen3_rag.errors import BackendError

if TYPE_CHECKING:
    from qwen3_rag.backends._remote.session import Session

__all__ = ["RemoteBackend"]

T = TypeVar("T")

_lock = threading.Lock()  # guards which calls a backend has


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
        with _lock:
            self._closed = True
            calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()

    def _start(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> Future[T]:
        with _lock:
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
        return {**self.__dict__, "_calls": None}


class Calls:
    """The calls of one backend in one process."""

    def __init__(self, spec: Remote, model: str, role: Role) -> None:
        """Store the arguments; the session is made at first use."""
        self.pid = os.getpid()
        self._model = model
        self._arguments = spec, model, role
        self._session: Session | None = None
        self._running: dict[Future[Any], Future[Any]] = {}
        self._closed = False

    def start(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a call.

        Args:
            work: Makes its coroutine from the session.

        Returns:
            A future whose cancelling cancels the call's requests.
        """
        future: Future[T] = Future()
        running = start(self._run(work))
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
        start(self._close())

    async def _run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        if self._closed:  # meanwhile
            raise _closed(self._model)
        if self._session is None:
            # The HTTP client takes long to import, which must not hold up the caller's loop.
            from qwen3_rag.backends._remote.session import Session

            self._session = Session(*self._arguments)
        return await work(self._session)

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()

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


def _forget() -> None:
    """Start anew in a forked child, in which nobody releases what a thread held."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
