"""`Connection`: uvicorn's, whose own refusal has the form of all others."""

from __future__ import annotations

import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from qwen3_rag_server.errors import Refusal

__all__ = ["Connection"]


class Connection(H11Protocol):
    """A connection that is read by h11, which limits the length of headers."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read as HTTP, unless an answer is under way, and close."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            refusal = Refusal(
                400,
                "This is not a request of HTTP/1.1, or its headers are longer than 64 KiB. Use an "
                "address that begins with http://, unless a proxy in front speaks TLS.",
            )
            content = orjson.dumps(refusal.body)
            head = (
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + content)
        self.transport.close()
