"""What every store does through its native async client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from qwen3_rag import StoreError
from qwen3_rag_hybrid import HybridSearcher, Store
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

__all__ = ["check_writing_and_reading"]


async def check_writing_and_reading(store: Store, drop: Callable[[], Awaitable[None]]) -> None:
    """Make a collection, write, search, look up and delete, all on one event loop.

    Args:
        store: A store with an async client, whose collection does not exist.
        drop: Removes the collection behind the searcher's back.
    """
    searcher = HybridSearcher(store, make_embedder())
    with pytest.raises(StoreError, match=r"no collection .*create\(\)"):
        await searcher.asearch("x")
    await searcher.acreate(fields=FIELDS)
    await asyncio.gather(*(searcher.aadd(DOCUMENTS[n::3]) for n in range(3)))
    await searcher.adelete(["germany"])
    assert await searcher.acheck_collection() == []
    assert (await searcher.asearch(CAPITAL))[0].id == "france"
    assert store.aio is not None
    [point] = (await store.aio.retrieve(["france", "germany"], vectors=True)).values()
    assert point.document == DOCUMENTS[0]
    assert point.dense is not None
    await drop()
    with pytest.raises(StoreError, match="There is no collection"):
        await searcher.asearch(CAPITAL)
