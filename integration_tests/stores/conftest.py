"""The stores' servers: by URL, from a binary, or in a container of `compose.yaml`; else a skip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.server_contract import StoreServer
from qwen3_rag_testkit.server_processes import QdrantProcess
from qwen3_rag_testkit.weaviate_server import WeaviateServer

COMPOSE = Path(__file__).parents[1] / "compose.yaml"


@dataclass(frozen=True)
class Source:
    """Where a store's server comes from.

    Attributes:
        url: The variable with the address of a server that is running.
        api_key: The variable with that server's key.
        binary: The variable with the path of a binary.
        process: Makes the process of that binary.
        port: The port of the service in `compose.yaml`.
        grpc: The variable with the port of the running server's gRPC interface, if it has two.
        grpc_port: That port when the variable is not set, and in `compose.yaml`.
        key: The key of a server that is started here.
    """

    url: str
    api_key: str
    port: int
    grpc: str = ""
    grpc_port: int = 0
    key: str = "test-key"
    binary: str = ""
    process: Callable[..., Any] | None = None

    def missing(self) -> str:
        """Say why there is no server; empty if there is one."""
        if os.environ.get(self.url) or os.environ.get(self.binary):
            return ""
        names = f"{self.url} and {self.binary} are" if self.binary else f"{self.url} is"
        no_docker = why_no_containers()
        return f"{names} not set, and {no_docker}" if no_docker else ""

    def server(self, service: str, stack: ExitStack) -> StoreServer:
        """Find or start the server; `stack` ends it."""
        if address := os.environ.get(self.url):
            grpc_port = int(os.environ.get(self.grpc, self.grpc_port))
            return StoreServer(address, os.environ.get(self.api_key), grpc_port)
        if self.process and (binary := os.environ.get(self.binary)):
            made = stack.enter_context(self.process(binary, api_key=self.key))
            address = f"http://127.0.0.1:{made.port}"
            return StoreServer(address, self.key, made.grpc_port, made.stop, made.start)
        from testcontainers.compose import DockerCompose

        compose = DockerCompose(COMPOSE.parent, compose_file_name=COMPOSE.name, services=[service])
        stack.enter_context(compose)

        def run(*command: str) -> None:
            docker = [*compose.docker_compose_command(), *command, service]
            subprocess.run(docker, cwd=COMPOSE.parent, capture_output=True, check=True)

        return StoreServer(
            f"http://127.0.0.1:{self.port}",
            self.key,
            self.grpc_port,
            stop=lambda: run("stop"),
            start=lambda: run("up", "--wait", "--no-recreate"),
        )


SOURCES = {
    "qdrant": Source(
        "QDRANT_URL",
        "QDRANT_API_KEY",
        6333,
        "QDRANT_GRPC_PORT",
        6334,
        binary="QDRANT_BINARY",
        process=QdrantProcess,
    ),
    "weaviate": Source(
        "WEAVIATE_URL",
        "WEAVIATE_API_KEY",
        8080,
        "WEAVIATE_GRPC_PORT",
        50051,
        binary="WEAVIATE_BINARY",
        process=WeaviateServer,
    ),
    "milvus": Source("MILVUS_URI", "MILVUS_TOKEN", 19530, key="root:Milvus"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of a store that has no server."""
    for item in items:
        if COMPOSE.parent in item.path.parents:
            for service in SOURCES.keys() & getattr(item, "fixturenames", ()):
                if reason := SOURCES[service].missing():
                    item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def qdrant() -> Iterator[StoreServer]:
    with ExitStack() as stack:
        yield SOURCES["qdrant"].server("qdrant", stack)


@pytest.fixture(scope="session")
def weaviate() -> Iterator[StoreServer]:
    with ExitStack() as stack:
        yield SOURCES["weaviate"].server("weaviate", stack)


@pytest.fixture(scope="session")
def milvus() -> Iterator[StoreServer]:
    with ExitStack() as stack:
        yield SOURCES["milvus"].server("milvus", stack)


@cache
def why_no_containers() -> str:
    """Say why no container can be started; empty if it can."""
    try:
        subprocess.run(["docker", "info"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no Docker daemon answers"
    found = importlib.util.find_spec("testcontainers")
    return "" if found else "testcontainers is not installed"
