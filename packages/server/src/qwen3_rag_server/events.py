"""`EventResponse`: an answer as server-sent events, which ends when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.operations import Event
from qwen3_rag_server.queue import CLIENT_GONE, ClientGone, until_gone

__all__ = ["EventResponse"]


class EventResponse(Response):
    """Sends events as they are made.

    Attributes:
        on_end: Called at the end with the status, which is that of a client that has gone if it did
            not wait.
    """

    def __init__(
        self,
        first: Event,
        others: AsyncGenerator[Event, None],
        refused: Callable[[BaseException], Refusal],
        holding: ExitStack,
    ) -> None:
        """Set what is sent.

        Args:
            first: The first event, which has been made.
            others: Makes the others; it is closed at the end.
            refused: Makes a refusal of what goes wrong meanwhile, which is sent as an event.
            holding: What is held until the end, such as places in the queue.
        """
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(media_type="text/event-stream", headers=headers)
        del self.headers["content-length"]
        self._first, self._others = first, others
        self._refused, self._holding = refused, holding
        self.on_end: Callable[[int], None] = lambda status: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, unless the client goes."""
        status = self.status_code
        try:
            await until_gone(receive, self._send(send))
        except ClientGone:
            status = CLIENT_GONE
        except asyncio.CancelledError as error:  # the server stops
            last = _written(Event("error", self._refused(error).body))
            await send({"type": "http.response.body", "body": last})
        finally:
            self._holding.close()
            self.on_end(status)

    async def _send(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        async with aclosing(self._events()) as events:
            async for event in events:
                part = {"body": _written(event), "more_body": True}
                await send({"type": "http.response.body", **part})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncGenerator[Event, None]:
        async with aclosing(self._others) as others:
            yield self._first
            try:
                async for event in others:
                    yield event
            except Exception as error:
                yield Event("error", self._refused(error).body)


def _written(event: Event) -> bytes:
    data = orjson.dumps(event.data, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"event: %b\ndata: %b\n\n" % (event.name.encode(), data)
