"""Milvus does what stores promise: Milvus Lite in this process and as a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_rag_testkit.server_contract import MilvusContract, StoreServer
from qwen3_rag_testkit.server_processes import MilvusLiteProcess

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")


class TestLite(MilvusContract):
    server_threads = ("ThreadPoolExecutor", "milvus_lite-")

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[StoreServer]:
        path = str(tmp_path / "milvus.db")
        yield StoreServer(path)
        lite.server_manager_instance.release_server(path)


class TestLiteServer(MilvusContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[StoreServer]:
        with MilvusLiteProcess() as server:
            url = f"http://127.0.0.1:{server.port}"
            yield StoreServer(url, stop=server.stop, start=server.start)
