"""Code that is written once and runs for both blocking and async callers.

A flow is a generator that yields what it waits for and returns its result, like httpx's
`auth_flow`.
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
    """Work with a blocking and an async implementation.

    Attributes:
        blocking: Runs on the caller's thread.
        awaited: Runs without blocking the event loop.
    """

    blocking: Callable[[], Any]
    awaited: Callable[[], Awaitable[Any]]


#: Yields futures and calls, receives their results and returns a `T`.
Flow: TypeAlias = Generator["Future[Any] | Call", Any, T]


def run(flow: Flow[T]) -> T:
    """Run a flow on this thread. An interrupt cancels the pending future."""
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
    """Run a flow on the event loop. Cancelling the task cancels the pending future."""
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
