"""One definition of a piece of work for blocking and for async callers.

A flow is a generator that yields what it has to wait for and returns its result, as httpx's
`auth_flow` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

__all__ = ["Call", "Flow", "run", "run_async"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """Work that comes in a blocking and in an async form.

    Attributes:
        blocking: Does it on the caller's thread.
        awaited: Does it without blocking the event loop.
    """

    blocking: Callable[[], Any]
    awaited: Callable[[], Awaitable[Any]]


#: Yields futures and calls, is sent their results, returns a `T`.
Flow: TypeAlias = Generator["Future[Any] | Call", Any, T]


def run(flow: Flow[T]) -> T:
    """Run a flow on this thread. An interrupt cancels the future that is waited for."""
    try:
        step = next(flow)
        while True:
            try:
                value = step.blocking() if isinstance(step, Call) else step.result()
            except BaseException as error:
                if not isinstance(step, Call):
                    step.cancel()
                step = flow.throw(error)
            else:
                step = flow.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def run_async(flow: Flow[T]) -> T:
    """Run a flow on the event loop. Cancelling the task cancels what is waited for."""
    try:
        step = next(flow)
        while True:
            try:
                if isinstance(step, Call):
                    value = await step.awaited()
                else:
                    value = await asyncio.wrap_future(step)
            except BaseException as error:
                if not isinstance(step, Call):
                    step.cancel()
                step = flow.throw(error)
            else:
                step = flow.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
