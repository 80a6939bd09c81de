"""Stores, and searchers over one in memory, whose models need no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient

from qwen3_rag_hybrid import HybridSearcher, QdrantEdgeStore, QdrantStore, Store, open_store
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.server_processes import QdrantProcess
from qwen3_rag_testkit.store_corpus import make_embedder
from qwen3_rag_testkit.weaviate_server import weaviate_for_tests

if TYPE_CHECKING:
    from weaviate import WeaviateClient

MakeSearcher = Callable[..., HybridSearcher]
Opener = Callable[[str], Store]


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


@pytest.fixture(params=["memory", "edge", "qdrant", "milvus", "weaviate"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens collections of one store by name."""
    opened: list[Store] = []
    names: dict[str, str] = {}
    database: dict[str, Any] = {}

    def open_(name: str) -> Store:
        if request.param == "memory":
            return MemoryStore(database, name)
        if request.param == "weaviate":
            server = request.getfixturevalue("weaviate_address")
            names.setdefault(name, f"{name.capitalize()}_{uuid4().hex}")
            place = f"{server['host']}:{server['port']}/{names[name]}"
            store = open_store(f"weaviate://{place}?grpc_port={server['grpc_port']}")
        elif request.param == "milvus":
            pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
            store = open_store(f"milvus:{tmp_path}/milvus.db/{name}")
        elif request.param == "qdrant":
            # One client: one process at a time can use a folder.
            client = database.setdefault("client", QdrantClient(":memory:"))
            return QdrantStore(client, name)
        else:
            store = open_store(tmp_path / name)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()
    if "client" in database:
        database["client"].close()


@pytest.fixture(scope="session")
def qdrant_address() -> Iterator[dict[str, Any]]:
    """The arguments of `QdrantClient` for a server.

    It is the one that `QDRANT_URL` names, as in http://127.0.0.1:6333 (`QDRANT_GRPC_PORT` is the
    port of its gRPC interface, 6334 when omitted, and `QDRANT_API_KEY` its key), or is started from
    `QDRANT_BINARY`.
    """
    url, binary = os.environ.get("QDRANT_URL"), os.environ.get("QDRANT_BINARY")
    unchecked = {"check_compatibility": False}  # it warns of versions that are far apart
    if url:
        yield {
            "url": url,
            "grpc_port": int(os.environ.get("QDRANT_GRPC_PORT", "6334")),
            "api_key": os.environ.get("QDRANT_API_KEY"),
            **unchecked,
        }
    elif binary:
        with QdrantProcess(binary) as server:
            yield {"url": server.url, "grpc_port": server.grpc_port, **unchecked}
    else:
        pytest.skip("neither QDRANT_URL names a server nor QDRANT_BINARY the binary of one")


@pytest.fixture
def qdrant_collection(qdrant_address: dict[str, Any]) -> Iterator[str]:
    """The name of a collection that does not exist yet, and is deleted at the end."""
    name = f"qwen3-rag-test-{uuid4()}"
    yield name
    client = QdrantClient(**qdrant_address)
    client.delete_collection(name)
    client.close()


@pytest.fixture
def qdrant_binary() -> str:
    """The binary of a server, for tests that need one of their own."""
    binary = os.environ.get("QDRANT_BINARY")
    if not binary:
        pytest.skip("QDRANT_BINARY names no binary of a server")
    return binary


@pytest.fixture(scope="session")
def weaviate_address() -> Iterator[dict[str, Any]]:
    """The arguments of `weaviate.connect_to_local` for a server or a stand-in."""
    with weaviate_for_tests() as address:
        yield address


@pytest.fixture(scope="session")
def weaviate_client(weaviate_address: dict[str, Any]) -> Iterator[WeaviateClient]:
    """A client of the server."""
    import weaviate

    with weaviate.connect_to_local(**weaviate_address) as client:
        yield client


@pytest.fixture
def collection(weaviate_client: WeaviateClient) -> Iterator[str]:
    """The name of a collection that does not exist yet, and is deleted at the end."""
    name = f"Test_{uuid4().hex}"
    yield name
    weaviate_client.collections.delete(name)
