"""A server with OpenAI's embeddings whose answers a test can replace, for tests of faults."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag_testkit.http_server import LoopbackServer

__all__ = ["DIM", "Answer", "AnsweringServer", "Exchange", "items", "vector"]

#: Numbers of a vector.
DIM = 8


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer: vectors in OpenAI's shape, unless the server has another."""

    protocol_version = "HTTP/1.1"
    server: AnsweringServer

    def do_GET(self) -> None:
        """Know no path."""
        self.send(404, b"{}")

    def do_POST(self) -> None:
        """Answer a request whatever its path."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.inputs.append(body.get("input", []))
        (self.server.answer or Exchange.vectors)(self, body)

    def vectors(self, body: dict[str, Any], **changes: Any) -> None:
        """Answer well, but for some fields."""
        self.send_json({"data": items(body["input"]), **changes})

    def send_json(self, value: Any) -> None:
        """Answer with JSON."""
        self.send(200, json.dumps(value).encode())

    def send(self, status: int, data: bytes, **headers: str) -> None:
        """Answer with anything."""
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


Answer = Callable[[Exchange, dict[str, Any]], None]


class AnsweringServer(LoopbackServer):
    """A server whose answers a test chooses.

    Attributes:
        url: The server's address.
        inputs: The texts of each request.
        answer: What is done with a request and its body instead of answering well.
    """

    def __init__(self) -> None:
        """Open a free port."""
        super().__init__(0, Exchange)
        self.inputs: list[list[str]] = []
        self.answer: Answer | None = None
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of clients that went away."""


def vector(text: str, dim: int = DIM) -> NDArray[np.float32]:
    """Return the vector of a text."""
    numbers = np.random.default_rng(list(text.encode())).standard_normal(dim)
    unit: NDArray[np.float32] = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    return unit


def items(texts: Sequence[str], dim: int = DIM) -> list[dict[str, Any]]:
    """Return the vectors of texts as OpenAI's API has them."""
    return [
        {"index": index, "embedding": base64.b64encode(vector(text, dim).tobytes()).decode()}
        for index, text in enumerate(texts)
    ]
