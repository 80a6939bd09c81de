"""An HTTP server on a loopback port, for stand-ins of servers."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["LoopbackServer"]


class LoopbackServer(ThreadingHTTPServer):
    """Serves from the moment it is made, and closes its clients' connections when it stops."""

    daemon_threads = True
    request_queue_size = 512  # connections that clients open at once

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Open the port.

        Args:
            port: The port; 0 for any that is free.
            handler: Answers the requests.
        """
        super().__init__(("127.0.0.1", port), handler)
        self._connections: set[Any] = set()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and all connections."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, which is kept open for further requests."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(request)
        super().shutdown_request(request)
