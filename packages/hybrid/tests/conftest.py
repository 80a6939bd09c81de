"""Stores that run here, and searchers over them whose models need no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import HybridSearcher, Legs, QdrantEdgeStore, QdrantStore
from qwen3_rag_testkit.backends import TextBackend


def embedder(dim: int = 64) -> Qwen3Embedder:
    return Qwen3Embedder("test/embedder", backend=TextBackend("embedding", dim))


@pytest.fixture(params=["edge", "memory", "folder"])
def legs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Legs]:
    """An empty place for a collection, once per store that runs here."""
    if request.param == "edge":
        edge = QdrantEdgeStore(tmp_path / "edge")
        yield edge
        edge.close()
        return
    client = (
        QdrantClient(":memory:")
        if request.param == "memory"
        else QdrantClient(path=str(tmp_path / "client"))
    )
    yield QdrantStore(client, "documents")
    client.close()


MakeSearcher = Callable[..., HybridSearcher]


@pytest.fixture
def make(legs: Legs) -> Iterator[MakeSearcher]:
    """Make searchers over the store."""
    made: list[HybridSearcher] = []

    def make(**settings: Any) -> HybridSearcher:
        made.append(HybridSearcher(legs, settings.pop("embedder", None) or embedder(), **settings))
        return made[-1]

    yield make
    for searcher in made:
        searcher.close()
