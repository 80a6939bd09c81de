"""Searchers over a store in memory, whose models need no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qwen3_rag_hybrid import HybridSearcher
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
