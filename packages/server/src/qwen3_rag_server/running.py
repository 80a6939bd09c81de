"""`RunningServer`: the application on a port, until it is stopped."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from typing import Self

import uvicorn

from qwen3_rag.errors import BackendError, InputError
from qwen3_rag.integration import check_count
from qwen3_rag_server.app import make_app
from qwen3_rag_server.connections import Connection
from qwen3_rag_server.models import Served
from qwen3_rag_server.settings import Settings

__all__ = ["RunningServer"]


#: Seconds that an idle connection stays open. Clients and proxies should be the first to close it:
#: nginx does after 60 seconds, and a request that meets the server's end of it is lost.
KEEP_ALIVE = 75

BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it


class RunningServer:
    """Answers requests on a port.

    The constructor takes the port, so that it is known and free; connections are accepted later.

    Example:
        ```python
        with RunningServer(Served(Qwen3Embedder("tiny")), port=0) as server:
            httpx.get(f"{server.url}/health")
        ```
    """

    def __init__(
        self,
        served: Served,
        settings: Settings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        stop_within: float = 30.0,
    ) -> None:
        """Take the port.

        Args:
            served: The models and indexes; they stay the caller's to close.
            settings: Limits and keys. A server on a loopback address without `hosts` answers only
                requests to names of this machine.
            host: The address to listen on.
            port: The port; 0 for any that is free.
            stop_within: Seconds that requests have to end when the server stops.

        Raises:
            InputError: The address is none of this machine, or the port cannot be used.
        """
        settings = settings or Settings()
        check_count(port, "port", 0, 65_535, required=True)
        self._socket = _bound(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        app = make_app(served, settings.of_this_machine() if _is_loopback(host) else settings)
        self._served = served
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                server_header=False,
                http=Connection,
                ws="none",
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(stop_within)),
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The server's address for clients on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def listen(self) -> None:
        """Accept connections, whose requests wait for `run`.

        Call it before you tell anybody the address.
        """
        self._socket.listen(BACKLOG)

    def run(self) -> None:
        """Answer requests until SIGINT or SIGTERM; requests under way are answered first."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run_here, name="qwen3-rag-server", daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            if not self._thread.is_alive():
                raise BackendError("The server did not start; the log says why.")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _run_here(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


def _bound(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # asyncio sends at once (TCP_NODELAY) only where the protocol is given; else 40 ms are lost.
        made = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":  # there, it would share the port with another server
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise InputError(
            f"The server cannot listen on {host!r}, port {port}: {error.strerror or error}. Choose "
            "another address or port."
        ) from error
    return made


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
