"""The event loop that all requests to servers run on, in a thread of this process.

A child forked while that thread works would inherit what it has half done, such as the import of a
module, whose lock nobody releases there. So forks wait until the thread waits for the network.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["start"]

T = TypeVar("T")

#: How long a fork waits at most: a caller's progress callback runs in the thread too, and may wait
#: for the thread that forks.
FORK_WAIT_SECONDS = 5.0

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None

_working = threading.RLock()  # held by the loop's thread unless it waits
_forking = threading.local()


class _Selector(selectors.DefaultSelector):
    """Lets forks happen while the loop waits."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        _working.release()
        try:
            return super().select(timeout)
        finally:
            _working.acquire()


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine on the loop, and start its thread if need be. Never blocks."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.SelectorEventLoop(_Selector()) if _forks else asyncio.new_event_loop()
            threading.Thread(
                target=_run, args=(_loop,), name="qwen3-rag-remote", daemon=True
            ).start()
        loop = _loop
    return asyncio.run_coroutine_threadsafe(work, loop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    with _working:
        loop.run_forever()


def _before_fork() -> None:
    _forking.waited = _working.acquire(timeout=FORK_WAIT_SECONDS)


def _after_fork() -> None:
    if _forking.waited:
        _working.release()


def _start_anew() -> None:
    """Forget the parent's thread, and what threads of the parent held."""
    global _lock, _loop, _working
    _lock, _loop, _working = threading.Lock(), None, threading.RLock()


_forks = hasattr(os, "register_at_fork")
if _forks:
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_start_anew
    )
