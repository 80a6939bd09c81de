"""Measures how long an event loop is kept from running, and a backend slow enough to tell."""

from __future__ import annotations

import asyncio
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

# Short enough to see any gap that matters, long enough to leave the processor to the work.
_TICK = 0.001


class Gap:
    """The longest time between two turns of a task that does nothing but tick.

    Attributes:
        seconds: How long it was, so far.
    """

    def __init__(self) -> None:
        """Start measuring."""
        self.seconds = 0.0
        self._last = perf_counter()

    def tick(self) -> None:
        """End a gap, and begin the next one."""
        now = perf_counter()
        self.seconds = max(self.seconds, now - self._last)
        self._last = now


@asynccontextmanager
async def longest_gap() -> AsyncIterator[Gap]:
    """Measure the longest gap between ticks while the block runs.

    The gaps before the first tick and after the last one count too, so that a block which never
    awaits, or awaits once and then keeps the loop from running, is measured as well.
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
    """Await some work, and make sure that it never keeps the event loop from running.

    The longest gap may be ten times that of an idle loop, measured before, and at least 0.25 s,
    which allows for a busy machine. Have the blocking form of the work take longer than that, as
    it does over a `SlowBackend`, or the test cannot fail.

    Args:
        work: A coroutine, or anything else that can be awaited.

    Returns:
        What the work gives.

    Raises:
        AssertionError: A gap was longer.
    """
    async with longest_gap() as idle:
        await asyncio.sleep(0.1)
    allowed = max(10 * idle.seconds, 0.25)
    async with longest_gap() as busy:
        result = await work
    assert busy.seconds < allowed, (
        f"The event loop stood still for {busy.seconds:.2f} s, allowed are {allowed:.2f} s."
    )
    return result


@dataclass(frozen=True)
class SlowBackend(TextBackend, kind="testkit-slow"):
    """A `TextBackend` that takes its time: a call that waits for it on the loop is noticed.

    Attributes:
        seconds: How long each call takes.
    """

    seconds: float = 1.0

    def start(self, model: str, role: Role) -> Backend:
        """Give a running one."""
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
