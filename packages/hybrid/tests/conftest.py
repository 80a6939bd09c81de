"""Stores, and searchers over one in memory, whose models need no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from qwen3_rag_hybrid import HybridSearcher, QdrantEdgeStore, QdrantStore, Store
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import make_embedder

MakeSearcher = Callable[..., HybridSearcher]


@pytest.fixture
def make() -> Iterator[MakeSearcher]:
    """Make searchers over one store."""
    store = MemoryStore()
    made: list[HybridSearcher] = []

    def make(**arguments: Any) -> HybridSearcher:
        embedder = arguments.pop("embedder", None) or make_embedder()
        made.append(HybridSearcher(store, embedder, **arguments))
        return made[-1]

    yield make
    for searcher in made:
        searcher.close()


@pytest.fixture(params=["edge", "client", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind that runs in this process."""
    if request.param == "edge":
        with closing(QdrantEdgeStore(tmp_path)) as opened:
            yield opened
    elif request.param == "memory":
        yield MemoryStore()
    else:
        client = QdrantClient(":memory:")
        yield QdrantStore(client, "documents")
        client.close()
