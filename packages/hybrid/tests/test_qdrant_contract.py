"""Qdrant does what stores promise: Edge, local mode, and a stand-in of a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from qwen3_rag_hybrid import QdrantEdgeStore, QdrantStore, Store
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.server_contract import QdrantContract, StoreServer
from qwen3_rag_testkit.store_contract import StoreContract


class TestEdge(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return QdrantEdgeStore(folder)

    def equals(self, field: str, value: str) -> Any:
        return edge.Filter(must=[edge.FieldCondition(field, edge.MatchValue(value))])


class TestLocalMode(StoreContract):
    @pytest.fixture(autouse=True)
    def _client(self) -> Iterator[None]:
        self.client = QdrantClient(":memory:")
        yield
        self.client.close()

    def open_store(self, folder: Path) -> Store:
        return QdrantStore(self.client, "documents")

    def equals(self, field: str, value: str) -> Any:
        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=field, match=match)])


class TestServerStandIn(QdrantContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[StoreServer]:
        with QdrantServer(api_key="a key") as server:
            yield StoreServer(server.url, "a key", stop=server.stop, start=server.start)


class TestServerStandInAsync(TestServerStandIn):
    has_async_client = True
