"""Random sequences of operations have the results that a dictionary with exact search has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import qdrant_edge as edge
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag_hybrid import QdrantEdgeStore, QdrantStore
from qwen3_rag_testkit.random_operations import run_operations
from qwen3_rag_testkit.server_processes import MilvusLiteProcess
from qwen3_rag_testkit.store_conditions import (
    Equal,
    Holds,
    Range,
    of_milvus,
    of_qdrant,
    of_weaviate,
)

PAYLOAD = (Equal, Holds, Range)  # filters of Edge and of Weaviate have no ids but UUIDs and numbers

# Each part has some sequences; `make slow` runs all of them.
SEQUENCES = [
    pytest.param(range(4), id="few"),
    pytest.param(range(4, 150), id="many", marks=pytest.mark.slow),
]
over_many_sequences = pytest.mark.parametrize("seeds", SEQUENCES)


@over_many_sequences
def test_edge(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        store = QdrantEdgeStore(tmp_path / str(seed))
        run_operations(seed, [store], of_qdrant(edge), conditions=PAYLOAD)


@over_many_sequences
def test_local_mode(seeds: range) -> None:
    for seed in seeds:
        with closing(QdrantClient(":memory:")) as client:
            stores = [QdrantStore(client, "documents") for _ in range(2)]
            run_operations(seed, stores, of_qdrant(models))


@pytest.mark.docker
@pytest.mark.parametrize("prefer_grpc", [False, True])
@over_many_sequences
def test_qdrant_server(seeds: range, prefer_grpc: bool, qdrant_address: dict[str, Any]) -> None:
    arguments = {**qdrant_address, "prefer_grpc": prefer_grpc}
    for seed in seeds:
        name = f"qwen3-rag-test-{uuid4()}"
        with closing(QdrantClient(**arguments)) as client:
            # A sequence has an event loop of its own, and the async client stays on it.
            native = QdrantStore(client, name, async_client=AsyncQdrantClient(**arguments))
            run_operations(seed, [native, QdrantStore(client, name)], of_qdrant(models))
            client.delete_collection(name)


@pytest.fixture(params=["file", "server"])
def milvus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A client of Milvus Lite, in this process or as a server."""
    pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    with ExitStack() as stack:
        address = str(tmp_path / "milvus.db")
        if request.param == "server":
            server = stack.enter_context(MilvusLiteProcess())
            address = f"http://127.0.0.1:{server.port}"
        else:
            stack.callback(lite.server_manager_instance.release_server, address)
        yield stack.enter_context(closing(pymilvus.MilvusClient(address)))


@over_many_sequences
def test_milvus(seeds: range, milvus: Any) -> None:
    from qwen3_rag_hybrid import MilvusStore

    for seed in seeds:
        name = f"Test_{uuid4().hex}"
        stores = [MilvusStore(milvus, name) for _ in range(2)]
        run_operations(seed, stores, of_milvus, negates=False)
        milvus.drop_collection(name)


@over_many_sequences
def test_weaviate(seeds: range, weaviate_client: Any) -> None:
    from qwen3_rag_hybrid import WeaviateStore

    for seed in seeds:
        name = f"Test_{uuid4().hex}"
        stores = [WeaviateStore(weaviate_client, name) for _ in range(2)]
        run_operations(seed, stores, of_weaviate, conditions=PAYLOAD, most=2**53)
        weaviate_client.collections.delete(name)
