"""One definition of a search for sync and async, on top of the doors' public methods.

As the core's steps, which yield futures; these yield calls that exist twice, blocking and awaited,
because that is what the doors offer. Knows nothing of what the calls do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

__all__ = ["Call", "Steps", "run", "run_async"]

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One piece of work in its two forms.

    Attributes:
        blocking: Does it on the caller's thread.
        awaited: Does it elsewhere, for the event loop to wait for.
    """

    blocking: Callable[[], Any]
    awaited: Callable[[], Awaitable[Any]]


#: Yields calls, is sent their results, returns a `T`.
Steps: TypeAlias = Generator[Call, Any, T]


def run(steps: Steps[T]) -> T:
    """Run steps on this thread."""
    try:
        call = next(steps)
        while True:
            try:
                value = call.blocking()
            except BaseException as error:
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def run_async(steps: Steps[T]) -> T:
    """Run steps, awaiting each call; cancelling the task ends the steps too."""
    try:
        call = next(steps)
        while True:
            try:
                value = await call.awaited()
            except BaseException as error:
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
