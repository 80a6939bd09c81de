"""Measures how long an event loop is blocked, and has a slow backend for such tests."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from qwen3_rag.backends import Backend, Limits, Output, Prompt, Role
from qwen3_rag_testkit.backends import RunningText, TextBackend

__all__ = ["Gap", "SlowBackend", "keeps_ticking", "longest_gap"]

T = TypeVar("T")

# Short enough to detect relevant gaps, long enough to leave the CPU to the work.
_TICK = 0.001


class Gap:
    """The longest time between two ticks of a task that only ticks.

    Attributes:
        seconds: The longest time so far.
    """

    def __init__(self) -> None:
        """Start measuring."""
        self.seconds = 0.0
        self._last = perf_counter()

    def tick(self) -> None:
        """End a gap and begin the next one."""
        now = perf_counter()
        self.seconds = max(self.seconds, now - self._last)
        self._last = now


@asynccontextmanager
async def longest_gap() -> AsyncIterator[Gap]:
    """Measure the longest gap between ticks while the block runs.

    The gaps before the first tick and after the last one count too, so that a block that never
    awaits, or that awaits once and then blocks the loop, is also measured.
    """
    gap = Gap()

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK)
            gap.tick()

    ticking = asyncio.create_task(tick())
    try:
        yield gap
    finally:
        gap.tick()
        ticking.cancel()


async def keeps_ticking(work: Awaitable[T]) -> T:
    """Await some work, and check that it does not block the event loop.

    The allowed gap is ten times that of an idle loop, measured first, and at least 0.5 s, to allow
    for a busy machine. A blocking version of the work must take longer than that, for example with
    a `SlowBackend`, or the test cannot fail.

    Args:
        work: A coroutine, or anything else that can be awaited.

    Returns:
        The result of the work.

    Raises:
        AssertionError: The longest gap exceeds the limit.
    """
    # A full garbage collection stops every thread. In a process with many objects it takes most of
    # a second, which would be blamed on the work that happens to trigger it.
    gc.collect()
    gc.freeze()
    try:
        async with longest_gap() as idle:
            await asyncio.sleep(0.1)
        allowed = max(10 * idle.seconds, 0.5)
        async with longest_gap() as busy:
            result = await work
    finally:
        gc.unfreeze()
    assert busy.seconds < allowed, (
        f"The event loop stood still for {busy.seconds:.2f} s, allowed are {allowed:.2f} s."
    )
    return result


@dataclass(frozen=True)
class SlowBackend(TextBackend, kind="testkit-slow"):
    """A slow `TextBackend`, so that calls that block the event loop are detected.

    Attributes:
        seconds: Duration of each call.
    """

    seconds: float = 2.0

    def start(self, model: str, role: Role) -> Backend:
        """Return the running backend."""
        return _RunningSlow(self.role or role, self.dim, self.seconds)


class _RunningSlow(RunningText):
    def __init__(self, role: Role, dim: int, seconds: float) -> None:
        super().__init__(role, dim)
        self._seconds = seconds

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        late: Future[Output] = Future()

        def answer() -> None:
            if not late.set_running_or_notify_cancel():
                return
            try:
                late.set_result(answered.result())
            except Exception as error:
                late.set_exception(error)

        answered = super().run(prompts, limits, on_done)
        threading.Timer(self._seconds, answer).start()
        return late
