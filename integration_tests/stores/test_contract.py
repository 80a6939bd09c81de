"""Real servers of each store do what stores promise: `conftest.py` says how they are found."""

from __future__ import annotations

import pytest

from qwen3_rag_testkit.server_contract import (
    MilvusContract,
    QdrantContract,
    StoreServer,
    WeaviateContract,
)


@pytest.mark.docker
class TestQdrant(QdrantContract):
    @pytest.fixture
    def server(self, qdrant: StoreServer) -> StoreServer:
        return qdrant


class TestQdrantAsync(TestQdrant):
    has_async_client = True


class TestQdrantGrpc(TestQdrant):
    prefer_grpc = True


class TestQdrantGrpcAsync(TestQdrant):
    prefer_grpc = True
    has_async_client = True


@pytest.mark.docker
class TestWeaviate(WeaviateContract):
    @pytest.fixture
    def server(self, weaviate: StoreServer) -> StoreServer:
        return weaviate


@pytest.mark.docker
class TestMilvus(MilvusContract):
    @pytest.fixture
    def server(self, milvus: StoreServer) -> StoreServer:
        return milvus
