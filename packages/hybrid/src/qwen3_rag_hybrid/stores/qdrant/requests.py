"""`Requests` to one Qdrant collection, by the blocking client or by the async one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from qdrant_client import AsyncQdrantClient, QdrantClient

from qwen3_rag.errors import Qwen3RagError
from qwen3_rag.integration import Call, Flow
from qwen3_rag_hybrid.stores.qdrant.errors import failure, retry_after

__all__ = ["Requests"]

T = TypeVar("T")

logger = logging.getLogger("qwen3_rag")

# Seconds to wait before a write is sent again: 15 in all, as long as a server takes to restart.
_WAITS = (0.5, 1, 2, 4, 8)
_LONGEST_WAIT = 60  # seconds, if the server asks for more


class Requests:
    """Makes calls of requests; the client is the one that the calls are run for.

    Attributes:
        name: The collection's name for error messages.
    """

    def __init__(
        self, client: QdrantClient, async_client: AsyncQdrantClient | None, collection: str
    ) -> None:
        """Set the clients of blocking and of async callers, and the collection's name."""
        self._client, self._async_client = client, async_client
        self._collection = collection
        self.name = f"The collection {collection!r}"

    def doing(self, action: str, flow: Flow[T]) -> Flow[T]:
        """Run a flow, and convert the client's errors to `StoreError`.

        Args:
            action: What the flow does, for error messages: `"Searching"`.
            flow: The flow.
        """
        try:
            return (yield from flow)
        except Qwen3RagError:
            raise
        except Exception as error:
            raise failure(action, self.name, self._collection, error) from error

    def ask(self, request: Callable[[QdrantClient], Any]) -> Call:
        """Make a call of a request; both clients have the same methods."""

        async def awaited() -> Any:
            return await request(cast(QdrantClient, self._async_client))

        return Call(partial(request, self._client), awaited)

    def write(self, request: Callable[[QdrantClient], Any]) -> Flow[Any]:
        """Send a request that may be repeated, and repeat it if the server may take it later."""
        for wait in _WAITS:
            try:
                return (yield self.ask(request))
            except Exception as error:
                asked = retry_after(error)
                if asked is None:
                    raise
                seconds = min(max(wait, asked), _LONGEST_WAIT)
                failed = failure("Writing to", self.name, self._collection, error)
                logger.warning("%s Trying again in %g s.", failed, seconds)
            yield _pause(seconds)
        return (yield self.ask(request))


def _pause(seconds: float) -> Call:
    return Call(partial(time.sleep, seconds), partial(asyncio.sleep, seconds))
