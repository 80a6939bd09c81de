"""The async form of `QdrantStore`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import run_async
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import AsyncStore, Query
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.qdrant.operations import Operations
from qwen3_rag_hybrid.stores.record import CollectionRecord

__all__ = ["AsyncQdrant"]


class AsyncQdrant(AsyncStore):
    """Awaits the async client; uses no threads."""

    def __init__(self, operations: Operations) -> None:
        """Set the operations, which have an async client."""
        self._operations = operations

    async def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """See `Store.create`."""
        await run_async(self._operations.create(record, adopt))

    async def record(self) -> CollectionRecord | None:
        """See `Store.record`."""
        return await run_async(self._operations.record())

    async def check(self, record: CollectionRecord) -> list[Finding]:
        """See `Store.check`."""
        return await run_async(self._operations.check(record))

    async def upsert(self, points: Sequence[Point]) -> None:
        """See `Store.upsert`."""
        await run_async(self._operations.upsert(points))

    async def delete(self, ids: Sequence[Id]) -> None:
        """See `Store.delete`."""
        await run_async(self._operations.delete(ids))

    async def delete_matching(self, filter: Any) -> None:
        """See `Store.delete_matching`."""
        await run_async(self._operations.delete_matching(filter))

    async def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """See `Store.search`."""
        return await run_async(self._operations.search(query, limit, filter))

    async def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """See `Store.retrieve`."""
        return await run_async(self._operations.retrieve(ids, vectors))
