"""Runs one definition of a door's work either blocking or awaiting.

A step generator yields the futures it needs and returns its result. Knows nothing of what the
steps do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

__all__ = ["Steps", "run", "run_async"]

T = TypeVar("T")

#: Yields futures, is sent their results, returns a `T`.
Steps: TypeAlias = Generator["Future[Any]", Any, T]


def run(steps: Steps[T]) -> T:
    """Run steps, blocking on each future; an interrupt gives up the future's place."""
    try:
        future = next(steps)
        while True:
            try:
                value = future.result()
            except BaseException as error:
                future.cancel()
                future = steps.throw(error)
            else:
                future = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def run_async(steps: Steps[T]) -> T:
    """Run steps, awaiting each future; cancelling the task cancels the future."""
    try:
        future = next(steps)
        while True:
            try:
                value = await asyncio.wrap_future(future)
            except BaseException as error:
                future.cancel()
                future = steps.throw(error)
            else:
                future = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
