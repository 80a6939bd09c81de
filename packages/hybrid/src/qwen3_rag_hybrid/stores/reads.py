"""`ReadingStore`: a store whose searches and look-ups are flows, and its async form."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Call, Flow, run, run_async
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import AsyncStore, Query, Store
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.record import CollectionRecord

__all__ = ["AsyncReads", "ReadingStore", "aside"]


class ReadingStore(Store):
    """A store that has its searches and look-ups as flows, for its blocking or its async client.

    Attributes:
        async_client: The async client; `None` if there is none.
    """

    async_client: Any = None

    def for_tenant(self, tenant: str) -> Self:
        """Give the store of one tenant; see `Store.for_tenant`."""
        bound = super().for_tenant(tenant)
        if self.async_client is not None:
            bound.aio = AsyncReads(bound)
        return bound

    @abstractmethod
    def searching(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        """See `Store.search`."""

    @abstractmethod
    def retrieving(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        """See `Store.retrieve`."""

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Search by vector and by terms, in two requests; see `Store.search`."""
        return run(self.searching(query, limit, filter))

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; see `Store.retrieve`."""
        return run(self.retrieving(ids, vectors))


class AsyncReads(AsyncStore):
    """Searches and look-ups await the async client; everything else runs on a thread.

    Writing computes terms and encodes vectors, which would block the event loop.
    """

    def __init__(self, store: ReadingStore) -> None:
        """Set the blocking form."""
        self._store = store

    async def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """See `Store.create`."""
        await asyncio.to_thread(self._store.create, record, adopt=adopt)

    async def record(self) -> CollectionRecord | None:
        """See `Store.record`."""
        return await asyncio.to_thread(self._store.record)

    async def check(self, record: CollectionRecord) -> list[Finding]:
        """See `Store.check`."""
        return await asyncio.to_thread(self._store.check, record)

    async def upsert(self, points: Sequence[Point]) -> None:
        """See `Store.upsert`."""
        await asyncio.to_thread(self._store.upsert, points)

    async def delete(self, ids: Sequence[Id]) -> None:
        """See `Store.delete`."""
        await asyncio.to_thread(self._store.delete, ids)

    async def delete_matching(self, filter: Any) -> None:
        """See `Store.delete_matching`."""
        await asyncio.to_thread(self._store.delete_matching, filter)

    async def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """See `Store.search`; both requests are sent at once."""
        return await run_async(self._store.searching(query, limit, filter))

    async def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """See `Store.retrieve`."""
        return await run_async(self._store.retrieving(ids, vectors))


def aside(work: Callable[[], Any]) -> Call:
    """Make a call that async callers run on a thread."""
    return Call(work, partial(asyncio.to_thread, work))
