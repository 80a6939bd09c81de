"""`ServerContract`: the tests that every store on a server must pass, and how each is reached.

class TestMine(QdrantContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls): return StoreServer("http://127.0.0.1:6333")
"""

from __future__ import annotations

import asyncio
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from qwen3_rag import StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, Store
from qwen3_rag_testkit.store_contract import StoreContract
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, PAYLOADS, make_embedder

__all__ = [
    "MilvusContract",
    "QdrantContract",
    "ServerContract",
    "StoreServer",
    "WeaviateContract",
]


C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True)
class StoreServer:
    """A running server.

    Attributes:
        url: Its address.
        key: The key or token that it asks clients for; `None` if it lets anybody in.
        grpc_port: Port of its gRPC interface, where that is not the port of the URL.
        stop: Stops it; `None` for a server that tests must leave alone.
        start: Starts it again with its data, and waits until it answers.
    """

    url: str
    key: str | None = None
    grpc_port: int = 50051
    stop: Callable[[], object] | None = None
    start: Callable[[], object] | None = None


class ServerContract(StoreContract):
    """What a store on a server must do. Subclass the class of a store, and add a fixture `server`.

    Attributes:
        client: The client of the present test.
        collection: The name of its collection, which is deleted at the end.
    """

    client: Any
    collection: str

    @abstractmethod
    def connect(self, server: StoreServer, timeout: float | None = None) -> Any:
        """Make a client; `timeout` in seconds is for requests to a server that is not there."""

    @abstractmethod
    def over(self, client: Any) -> Store:
        """Make a store over the client's `self.collection`."""

    @abstractmethod
    def drop(self) -> None:
        """Delete `self.collection`, if it exists."""

    @pytest.fixture(autouse=True)
    def _connected(self, server: StoreServer) -> Iterator[None]:
        self.client, self.collection = self.connect(server), f"Test_{uuid4().hex}"
        yield
        self.drop()
        self.client.close()

    def open_store(self, folder: Path) -> Store:
        return self.over(self.client)

    def test_a_wrong_key_is_refused(self, server: StoreServer) -> None:
        if server.key is None:
            pytest.skip("this server asks for no key")

        def create() -> None:
            with closing(self.connect(replace(server, key="wrong"))) as client:
                HybridSearcher(self.over(client), make_embedder()).create()

        # Some clients ask the server when they are made, and raise errors of their own.
        with pytest.raises(Exception, match=r"(?i)api.key|auth"):
            create()

    def test_a_stopped_server_is_told_and_has_everything_when_it_is_back(
        self, server: StoreServer
    ) -> None:
        if server.stop is None or server.start is None:
            pytest.skip("this server is not the tests' to stop")
        client = self.connect(server, timeout=3)
        searcher = HybridSearcher(self.over(client), make_embedder())
        searcher.create(fields=FIELDS)
        searcher.add(DOCUMENTS)
        record, before = searcher.store.record(), searcher.search(CAPITAL)

        server.stop()
        try:
            for call in (
                searcher.count,
                searcher.check_collection,
                lambda: searcher.add(DOCUMENTS),
                lambda: HybridSearcher(searcher.store, make_embedder()).search(CAPITAL),
            ):
                with pytest.raises(StoreError, match=self.collection):
                    call()
        finally:
            server.start()
            client.close()

        again = HybridSearcher(self.over(self.client), make_embedder())
        assert _when_back(again.store.record) == record
        assert _when_back(lambda: again.search(CAPITAL)) == before
        again.add([*DOCUMENTS, Document("later", "written after the restart")])
        assert again.search("restart")[0].id == "later"
        assert again.count() == len(DOCUMENTS) + 1


def _when_back(call: Callable[[], T]) -> T:
    """Call until it works: clients wait some seconds before they connect again."""
    for _ in range(60):
        with suppress(StoreError):
            return call()
        time.sleep(0.5)
    return call()


class QdrantContract(ServerContract):
    """A Qdrant server, or a stand-in.

    Attributes:
        prefer_grpc: Whether the clients use gRPC.
        has_async_client: Whether the store has an async client too.
    """

    prefer_grpc: ClassVar = False
    has_async_client: ClassVar = False

    @pytest.fixture(autouse=True)
    def _async_client(self, server: StoreServer) -> Iterator[None]:
        from qdrant_client import AsyncQdrantClient

        self.async_client = None
        if self.has_async_client:
            self.async_client = self.make_client(AsyncQdrantClient, server)
        yield
        if self.async_client is not None:
            asyncio.run(self.async_client.close())

    def connect(self, server: StoreServer, timeout: float | None = None) -> Any:
        from qdrant_client import QdrantClient

        return self.make_client(QdrantClient, server, timeout)

    def make_client(
        self, kind: Callable[..., C], server: StoreServer, timeout: float | None = None
    ) -> C:
        """Make a blocking or an async client."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Api key is used with an insecure")
            return kind(
                url=server.url,
                grpc_port=server.grpc_port,
                prefer_grpc=self.prefer_grpc,
                api_key=server.key,
                timeout=None if timeout is None else int(timeout),
                check_compatibility=False,  # on a thread that may outlive a server
            )

    def over(self, client: Any) -> Store:
        from qwen3_rag_hybrid import QdrantStore

        return QdrantStore(client, self.collection, async_client=self.async_client)

    def drop(self) -> None:
        if self.client.collection_exists(self.collection):
            self.client.delete_collection(self.collection)

    def equals(self, field: str, value: str) -> Any:
        from qdrant_client import models

        match = models.MatchValue(value=value)
        return models.Filter(must=[models.FieldCondition(key=field, match=match)])

    def counts_words_of_tenants(self) -> bool:
        major, minor = self.client.info().version.split(".")[:2]
        return (int(major), int(minor)) >= (1, 19)


class WeaviateContract(ServerContract):
    """A Weaviate server, or a stand-in."""

    own_bm25 = True
    bm25_factor = 1 / 2.2  # the server leaves the constant factor k1 + 1 out
    server_threads = ("process_request_thread", "weaviate-stand-in")
    tenant_names = (
        *("-", "1", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "Acme", "_", "a_b-c", "acme"),
        "x" * 64,
    )

    def connect(self, server: StoreServer, timeout: float | None = None) -> Any:
        import weaviate
        from weaviate.classes.init import AdditionalConfig, Auth, Timeout

        address = urlsplit(server.url)
        patience = {} if timeout is None else {"query": timeout, "insert": timeout}
        return weaviate.connect_to_local(
            host=str(address.hostname),
            port=address.port or 80,
            grpc_port=server.grpc_port,
            auth_credentials=None if server.key is None else Auth.api_key(server.key),
            additional_config=AdditionalConfig(timeout=Timeout(**patience)),
            skip_init_checks=True,
        )

    def over(self, client: Any) -> Store:
        from qwen3_rag_hybrid import WeaviateStore

        return WeaviateStore(client, self.collection)

    def drop(self) -> None:
        self.client.collections.delete(self.collection)

    def equals(self, field: str, value: str) -> Any:
        from weaviate.classes.query import Filter

        return Filter.by_property(field).equal(value)


class MilvusContract(ServerContract):
    """A Milvus server, or Milvus Lite."""

    own_bm25 = True
    tenant_idf = False  # tenants that share a partition are counted together
    payloads: ClassVar[Sequence[Mapping[str, Any]]] = [
        {key: "x" * 60_000 if key == "long" else value for key, value in payload.items()}
        for payload in PAYLOADS
    ]

    def connect(self, server: StoreServer, timeout: float | None = None) -> Any:
        from pymilvus import MilvusClient

        return MilvusClient(server.url, token=server.key or "", timeout=timeout)

    def over(self, client: Any) -> Store:
        from qwen3_rag_hybrid import MilvusStore

        return MilvusStore(client, self.collection)

    def drop(self) -> None:
        from pymilvus.exceptions import MilvusException

        with suppress(MilvusException):
            self.client.drop_collection(self.collection)

    def equals(self, field: str, value: str) -> Any:
        return f'payload["{field}"] == "{value}"'
