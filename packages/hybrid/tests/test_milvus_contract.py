"""Milvus does what stores promise: Milvus Lite in this process and as a server."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from qwen3_rag_hybrid import Store
from qwen3_rag_testkit.store_contract import StoreContract
from qwen3_rag_testkit.store_corpus import PAYLOADS

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus


class ClientContract(StoreContract):
    """Any client: collections outlive a store, as the client does."""

    own_bm25 = True
    payloads: ClassVar = [
        {key: "x" * 60_000 if key == "long" else value for key, value in payload.items()}
        for payload in PAYLOADS
    ]
    client: Any
    collection = "documents"

    def open_store(self, folder: Path) -> Store:
        return MilvusStore(self.client, self.collection)

    def equals(self, field: str, value: str) -> Any:
        return f'payload["{field}"] == "{value}"'


class TestLite(ClientContract):
    server_threads = ("ThreadPoolExecutor", "milvus_lite-")

    @pytest.fixture(autouse=True)
    def _client(self, tmp_path: Path) -> Iterator[None]:
        path = str(tmp_path / "milvus.db")
        self.client = pymilvus.MilvusClient(path)
        yield
        self.client.close()
        lite.server_manager_instance.release_server(path)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of Milvus Lite."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = str(tmp_path_factory.mktemp("milvus"))
    command = ["server", "--host", "127.0.0.1", "--port", port, "--data-dir", folder]
    server = subprocess.Popen(
        [sys.executable, "-m", "milvus_lite.cmdline", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(int(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    pytest.fail("The server of Milvus Lite did not start in a minute")


class TestLiteServer(ClientContract):
    @pytest.fixture(autouse=True)
    def _client(self, uri: str) -> Iterator[None]:
        self.client = pymilvus.MilvusClient(uri)
        self.collection = f"documents_{uuid4().hex}"
        yield
        self.client.drop_collection(self.collection)
        self.client.close()
