"""One thread for what must not run on an event loop's.

A searcher has one, so that a thousand tasks searching at once make one thread and not a thousand.
Knows nothing of what it runs.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from qwen3_rag.errors import StoreError

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """Starts its thread when it is first used."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for `work` to be done on the thread; cancelled before its turn, it never runs.

        Raises:
            StoreError: The worker was closed.
        """
        if self._pid != os.getpid():  # a forked child has the lock and the pool, but no thread
            self._lock, self._pool, self._pid = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._closed:
                raise StoreError("The searcher was closed. Make a new one.")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rag-hybrid")
            future = self._pool.submit(work)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the thread finish what it is doing, and drop what waits."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None and self._pid == os.getpid():
            pool.shutdown(wait=True, cancel_futures=True)
