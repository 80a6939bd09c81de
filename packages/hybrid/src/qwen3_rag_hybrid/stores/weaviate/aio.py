"""The async form of `WeaviateStore`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import run_async
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import AsyncStore, Query
from qwen3_rag_hybrid.stores.record import CollectionRecord, Finding

if TYPE_CHECKING:
    from qwen3_rag_hybrid.stores.weaviate.store import WeaviateStore

__all__ = ["AsyncWeaviate"]


class AsyncWeaviate(AsyncStore):
    """Searches and look-ups await the async client; everything else runs on a thread.

    Writing computes terms and encodes vectors, which would block the event loop.
    """

    def __init__(self, store: WeaviateStore) -> None:
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
