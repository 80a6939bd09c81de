"""Runs store operations for blocking and for async callers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from qwen3_rag.errors import StoreError
from qwen3_rag.integration import Call
from qwen3_rag_hybrid.stores.base import Store

__all__ = ["StoreCalls", "Worker"]

T = TypeVar("T")


class StoreCalls:
    """Wraps store operations as calls that a flow can yield.

    In async code, a store with a native async client is awaited; all other work runs on one thread,
    which all tasks share.
    """

    def __init__(self, store: Store, worker: Worker | None = None) -> None:
        """Set the store.

        Args:
            store: The store.
            worker: The thread; a new one when omitted, which starts when it is first needed.
        """
        self.store = store
        self._worker = worker or Worker()

    def for_tenant(self, tenant: str | None) -> StoreCalls:
        """Give the calls to the store of a tenant, on the same thread; `None` gives these."""
        if tenant is None:
            return self
        return StoreCalls(self.store.for_tenant(tenant), self._worker)

    def ask(self, work: Callable[[Any], Any]) -> Call:
        """Make a call to the store.

        Args:
            work: Calls a method of the store or of its async form: `lambda store:
                store.delete(ids)`.
        """
        store, aio = self.store, self.store.aio
        if aio is None:
            return self.compute(partial(work, store))

        async def awaited() -> Any:
            self._worker.check_open()
            return await work(aio)

        return Call(partial(work, store), awaited)

    def compute(self, work: Callable[[], Any]) -> Call:
        """Make a call for work that would block an event loop."""
        return Call(work, partial(self._worker.run, work))

    def close(self) -> None:
        """End the thread."""
        self._worker.close()


class Worker:
    """One thread, started when it is first used."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` on the thread and wait for it. If cancelled before it starts, it never runs.

        Raises:
            StoreError: The worker was closed.
        """
        with self._own_lock():
            self.check_open()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rag-hybrid")
            future = self._pool.submit(work)
        return await asyncio.wrap_future(future)

    def check_open(self) -> None:
        """Check that the worker was not closed.

        Raises:
            StoreError: It was.
        """
        if self._closed:
            raise StoreError("The searcher was closed. Make a new one.")

    def close(self) -> None:
        """Finish the current work and drop the rest."""
        with self._own_lock():
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _own_lock(self) -> threading.Lock:
        if self._pid != os.getpid():  # a forked child has the lock and the pool, but no thread
            self._lock, self._pool, self._pid = threading.Lock(), None, os.getpid()
        return self._lock
