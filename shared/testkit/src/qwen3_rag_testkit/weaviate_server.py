"""Starts a Weaviate server from a binary, with an empty data folder, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

__all__ = ["WeaviateServer"]

_PATIENCE = 120  # seconds until the server must answer


class WeaviateServer:
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

    def __init__(self, binary: str | os.PathLike[str]) -> None:
        """Choose ports; nothing is started yet.

        Args:
            binary: The server's binary, as `go build ./cmd/weaviate-server` makes it.
        """
        self._binary = Path(binary).expanduser().absolute()
        self.port, self.grpc_port, *self._others = _free_ports(6)
        self.folder = Path(tempfile.mkdtemp(prefix="weaviate-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> WeaviateServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server with the data that there is, and wait until it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; the message has its last lines.
        """
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, "--host", "127.0.0.1", "--port", str(self.port), "--scheme", "http"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        ready = f"http://127.0.0.1:{self.port}/v1/.well-known/ready"
        end = time.monotonic() + _PATIENCE
        while not _answers(ready):
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                last = log.read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"{self._binary} does not serve {ready}: {last}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill the server without any warning; `start` starts it with the same data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _environment(self) -> dict[str, str]:
        gossip, data, raft, raft_rpc = map(str, self._others)
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder),
            "PERSISTENCE_DATA_PATH": str(self.folder / "data"),
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
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
        }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status < 300)
    except OSError:
        return False
