"""`Queue` and `Bodies`: count the texts and bytes of requests, and refuse what does not fit."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeVar

from qwen3_rag_server.errors import Refusal

__all__ = ["CLIENT_GONE", "Bodies", "ClientGone", "Queue", "until_gone"]

T = TypeVar("T")

#: The status in metrics of a request whose client did not wait for the answer, as nginx has it.
CLIENT_GONE = 499

_LONGEST_WAIT = 60  # seconds that a client is told to wait at most


class ClientGone(Exception):
    """The client closed the connection before the answer."""


class Bodies:
    """The bytes of all bodies that are held in memory; used on the event loop alone."""

    def __init__(self, most: int) -> None:
        """Set the largest number."""
        self._held = 0
        self._most = most

    @contextmanager
    def receive(self) -> Iterator[Callable[[int], None]]:
        """Give the function that counts what arrives of a body, until the request is answered.

        Raises:
            Refusal: In the function, if the bytes do not fit beside those of other requests.
        """
        own = 0

        def arrived(length: int) -> None:
            nonlocal own
            if self._held > own and self._held + length > self._most:
                raise Refusal(
                    429,
                    f"Requests with {self._held:,} bytes are under way, and this server holds "
                    f"{self._most:,}. Try again later, or send fewer texts at once.",
                    retry_after=1,
                )
            own += length
            self._held += length

        try:
            yield arrived
        finally:
            self._held -= own


class Queue:
    """The texts and pairs of all requests that wait or run; used on the event loop alone.

    Attributes:
        length: Their number.
    """

    def __init__(self, most: int) -> None:
        """Set the largest number."""
        self.length = 0
        self._most = most
        self._rate = 0.0  # texts a second, while there are any

    @contextmanager
    def admit(self, texts: int) -> Iterator[None]:
        """Count a request's texts while it runs.

        Raises:
            Refusal: They do not fit beside the others.
        """
        if self.length and self.length + texts > self._most:
            wait = math.ceil(self.length / self._rate) if self._rate else 1
            raise Refusal(
                429,
                f"{self.length:,} texts are waiting, and {texts:,} more would be beyond this "
                f"server's limit of {self._most:,}. Try again later, or send fewer at once.",
                retry_after=max(1, min(wait, _LONGEST_WAIT)),
            )
        self.length += texts
        begun, before = time.monotonic(), self.length
        try:
            yield
        finally:
            self.length -= texts
            # All that was waiting when this request came has been computed in its time.
            rate = before / max(time.monotonic() - begun, 1e-3)
            self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate


async def until_gone(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], work: Awaitable[T]
) -> T:
    """Wait for work, and cancel it when the client closes the connection.

    Args:
        receive: Gives the connection's next event, once the body was read.
        work: What to wait for.

    Raises:
        ClientGone: The client has gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_closed(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _closed(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
