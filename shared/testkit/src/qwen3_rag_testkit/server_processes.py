"""Starts servers of stores as processes on free loopback ports, with empty data folders."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

__all__ = ["MilvusLiteProcess", "QdrantProcess", "ServerProcess", "answers", "free_ports"]

S = TypeVar("S", bound="ServerProcess")


class ServerProcess(ABC):
    """A context manager that runs a server.

    Attributes:
        port: Port of the server.
        folder: The data folder, which is deleted at the end.
    """

    #: Seconds until the server must answer.
    patience = 120

    def __init__(self) -> None:
        """Choose a port and make the folder; nothing is started yet."""
        [self.port] = free_ports(1)
        self.folder = Path(tempfile.mkdtemp(prefix="server-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: S) -> S:
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
                [*map(str, self._command())],
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder), **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + self.patience
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                last = log.read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"{self._command()[0]} does not serve: {last}")
            time.sleep(0.2)

    @property
    def pid(self) -> int | None:
        """The server's process id; `None` while it does not run."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill the server without any warning; `start` starts it with the same data."""
        if self._process is not None:
            # With the processes that it started, which may go on without it.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the server as an administrator does; `start` starts it with the same data."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Make the command line."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    def _answers(self) -> bool:
        """Whether the server is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except OSError:
            return False


class QdrantProcess(ServerProcess):
    """A Qdrant server from its binary.

    Attributes:
        url: URL of the REST interface.
        grpc_port: Port of the gRPC interface.
    """

    def __init__(
        self,
        binary: str | os.PathLike[str],
        *,
        api_key: str | None = None,
        read_only_key: str | None = None,
    ) -> None:
        """Choose ports.

        Args:
            binary: The server's binary.
            api_key: The key that clients must send; `None` to let anybody in.
            read_only_key: A key of clients that may only read.
        """
        super().__init__()
        self._binary = Path(binary).expanduser().absolute()
        self._keys = {
            "QDRANT__SERVICE__API_KEY": api_key,
            "QDRANT__SERVICE__READ_ONLY_API_KEY": read_only_key,
        }
        self.url = f"http://127.0.0.1:{self.port}"
        [self.grpc_port] = free_ports(1)

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, "--disable-telemetry"]

    def _environment(self) -> Mapping[str, str]:
        return {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(self.port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(self.folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(self.folder / "snapshots"),
            **{name: key for name, key in self._keys.items() if key is not None},
        }

    def _answers(self) -> bool:
        return answers(f"{self.url}/readyz")


class MilvusLiteProcess(ServerProcess):
    """Milvus Lite as a server, from the installed package."""

    def _command(self) -> Sequence[str | Path]:
        data = self.folder / "data"
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "milvus_lite.cmdline", "server", *address, "--data-dir", data]


def free_ports(count: int) -> list[int]:
    """Find loopback ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(url: str) -> bool:
    """Whether a URL is answered without an error."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status < 300)
    except OSError:
        return False
