"""`RunningServer`: the application on a port, until it is stopped."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
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
        if ip_address(self._socket.getsockname()[0].partition("%")[0]).is_loopback:
            settings = settings.of_this_machine(host)
        app = make_app(served, settings)
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
        """Answer requests until SIGINT, SIGTERM or SIGHUP; those under way are answered first."""
        with self._until_hang_up():
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

    @contextmanager
    def _until_hang_up(self) -> Iterator[None]:
        """Stop when the terminal is closed, as uvicorn does at its own two signals."""
        number: signal.Signals | None = getattr(signal, "SIGHUP", None)  # not on Windows
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(number) if number is not None and in_main else None
        if number is None or before in (None, signal.SIG_IGN):  # ignored by nohup
            yield
            return
        came = False

        def stop(*_: object) -> None:
            nonlocal came
            came = self._server.should_exit = True

        signal.signal(number, stop)
        try:
            yield
        finally:
            signal.signal(number, before)
        if came:
            signal.raise_signal(number)

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
    except (OSError, UnicodeError, ValueError) as error:  # a label that is too long, a NUL
        told = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        raise InputError(
            f"The server cannot listen on {host!r:.120}, port {port}: {told or error}. Choose "
            "another address or port."
        ) from error
    return made
