"""Weaviate servers for tests: one that is named, one from a binary, or a stand-in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qwen3_rag_testkit.server_processes import ServerProcess, answers, free_ports

__all__ = ["WeaviateServer", "weaviate_for_tests"]


@contextmanager
def weaviate_for_tests() -> Iterator[dict[str, Any]]:
    """Give the arguments of `weaviate.connect_to_local` for the server that tests should use.

    It is the one that `WEAVIATE_URL` names, as in http://127.0.0.1:8080 (`WEAVIATE_GRPC_PORT` is
    the port of its gRPC interface, 50051 when omitted, and `WEAVIATE_API_KEY` its key), or is
    started from `WEAVIATE_BINARY`, or is a stand-in.
    """
    if url := os.environ.get("WEAVIATE_URL"):
        from weaviate.classes.init import Auth

        address, key = urlsplit(url), os.environ.get("WEAVIATE_API_KEY")
        yield {
            "host": address.hostname,
            "port": address.port or 8080,
            "grpc_port": int(os.environ.get("WEAVIATE_GRPC_PORT", "50051")),
            **({"auth_credentials": Auth.api_key(key)} if key else {}),
        }
        return
    # Here, because it needs Weaviate's client.
    from qwen3_rag_testkit.weaviate_stand_in import WeaviateStandIn

    binary = os.environ.get("WEAVIATE_BINARY")
    with WeaviateServer(binary) if binary else WeaviateStandIn() as server:
        yield {"host": "127.0.0.1", "port": server.port, "grpc_port": server.grpc_port}


class WeaviateServer(ServerProcess):
    """A context manager that runs the server's binary on free loopback ports.

    Example:
        ```python
        with WeaviateServer("weaviate-server") as server:
            client = weaviate.connect_to_local(port=server.port, grpc_port=server.grpc_port)
        ```

    Attributes:
        port: Port of the REST interface.
        grpc_port: Port of the gRPC interface.
        folder: The data folder, which is deleted at the end.
    """

    def __init__(
        self,
        binary: str | os.PathLike[str],
        *,
        api_key: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Choose ports; nothing is started yet.

        Args:
            binary: The server's binary, as `go build ./cmd/weaviate-server` makes it.
            api_key: The key that clients must send; `None` to let anybody in.
            settings: Further environment variables, such as those of modules.
        """
        super().__init__()
        self._binary = Path(binary).expanduser().absolute()
        self._api_key = api_key
        self._settings = settings or {}
        self.grpc_port, *self._others = free_ports(5)

    def _command(self) -> Sequence[str | Path]:
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--scheme", "http"]
        return [self._binary, *address]

    def _environment(self) -> Mapping[str, str]:
        gossip, data, raft, raft_rpc = map(str, self._others)
        keys = {
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": self._api_key or "",
            "AUTHENTICATION_APIKEY_USERS": "tests",
        }
        return {
            **({} if self._api_key is None else keys),
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": str(self._api_key is None).lower(),
            "PERSISTENCE_DATA_PATH": str(self.folder / "data"),
            "DEFAULT_VECTORIZER_MODULE": "none",
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": gossip,
            "CLUSTER_DATA_BIND_PORT": data,
            "RAFT_PORT": raft,
            "RAFT_INTERNAL_RPC_PORT": raft_rpc,
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "GRPC_PORT": str(self.grpc_port),
            "GO_PROFILING_DISABLE": "true",
            "DISABLE_TELEMETRY": "true",
            "LOG_LEVEL": "warning",
            **self._settings,
        }

    def _answers(self) -> bool:
        return answers(f"http://127.0.0.1:{self.port}/v1/.well-known/ready")
