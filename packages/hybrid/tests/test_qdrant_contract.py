"""Qdrant does what stores promise: Edge, local mode, a stand-in of a server, and a named server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import qdrant_edge as edge
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag_hybrid import QdrantEdgeStore, QdrantStore, Store
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.store_contract import StoreContract


class TestEdge(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return QdrantEdgeStore(folder)

    def equals(self, field: str, value: str) -> Any:
        return edge.Filter(must=[edge.FieldCondition(field, edge.MatchValue(value))])


class ClientContract(StoreContract):
    """Any client: collections outlive a store, as the client does."""

    client: QdrantClient

    def open_store(self, folder: Path) -> Store:
        return QdrantStore(self.client, "documents")

    def equals(self, field: str, value: str) -> Any:
        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=field, match=match)])


class TestLocalMode(ClientContract):
    @pytest.fixture(autouse=True)
    def _client(self) -> Iterator[None]:
        self.client = QdrantClient(":memory:")
        yield
        self.client.close()


class TestServerStandIn(ClientContract):
    @pytest.fixture(autouse=True)
    def _client(self) -> Iterator[None]:
        with QdrantServer() as server:
            # The check runs on a thread that may outlive the server.
            self.client = QdrantClient(url=server.url, check_compatibility=False)
            self.async_client = AsyncQdrantClient(url=server.url, check_compatibility=False)
            yield
            self.client.close()
            asyncio.run(self.async_client.close())


class TestServerStandInAsync(TestServerStandIn):
    def open_store(self, folder: Path) -> Store:
        return QdrantStore(self.client, "documents", async_client=self.async_client)


@pytest.mark.docker
class TestServer(ClientContract):
    @pytest.fixture(autouse=True)
    def _client(self) -> Iterator[None]:
        url = os.environ.get("QDRANT_URL")
        if not url:
            pytest.skip("QDRANT_URL names no server, as in QDRANT_URL=http://127.0.0.1:6333")
        self.client = QdrantClient(url=url)
        self.collection = f"qwen3-rag-test-{uuid4()}"
        yield
        self.client.delete_collection(self.collection)
        self.client.close()

    def open_store(self, folder: Path) -> Store:
        return QdrantStore(self.client, self.collection)
