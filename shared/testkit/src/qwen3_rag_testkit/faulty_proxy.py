"""A proxy that stands before a model server and breaks some of its answers, for tests."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["FAULTS", "FaultyProxy"]

#: What can happen to an answer.
FAULTS = (
    *("delayed", "cut", "reordered", "shorter", "not finite", "not json"),
    *("429", "429 with wait", "500", "closed"),
)


class FaultyProxy:
    """A context manager that forwards POST requests, and breaks a share of the answers.

    Attributes:
        url: The proxy's address.
        seen: How often each body was answered well, by the body.
        broken: How often each fault happened.
        asked: Paths of all requests so far, in order.
    """

    def __init__(
        self,
        server: str,
        *,
        share: float = 0.1,
        faults: Sequence[str] = FAULTS,
        delay: float = 0.3,
        seed: int = 0,
    ) -> None:
        """Store the arguments; nothing is started yet.

        Args:
            server: The server's address.
            share: Share of the answers that are broken.
            faults: What happens to them, each as often as the others.
            delay: Seconds that a delayed answer takes longer.
            seed: Decides which answers are broken.
        """
        self._server = urlsplit(server)
        self._share, self._faults, self._delay = share, faults, delay
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.seen: Counter[bytes] = Counter()
        self.broken: Counter[str] = Counter()
        self.asked: list[str] = []
        self._http = _Server(self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def fault(self) -> str | None:
        """Choose what happens to the next answer."""
        with self._lock:
            if self._random.random() >= self._share:
                return None
            fault = self._random.choice(self._faults)
            self.broken[fault] += 1
            return fault

    def ask(
        self, method: str, path: str, body: bytes | None, key: str | None = None
    ) -> tuple[int, bytes]:
        """Ask the server; `key` is the header Authorization."""
        self.asked.append(path)
        connection = http.client.HTTPConnection(self._server.netloc, timeout=60)
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = key
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def forward(
        self, path: str, body: bytes, key: str | None, fault: str | None
    ) -> tuple[int, bytes]:
        """Ask the server, and break its answer unless it is an error."""
        status, data = self.ask("POST", path, body, key)
        if fault == "delayed":
            time.sleep(self._delay)
        if status == 200 and fault in (None, "delayed", "reordered"):
            with self._lock:
                self.seen[body] += 1
        return status, broken(data, fault) if status == 200 else data


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultyProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(*self.server.proxy.ask("GET", self.path, None, self.headers["Authorization"]))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.server.proxy.fault()
        if fault in ("429", "429 with wait", "500"):
            wait = {"Retry-After": "0.2"} if "wait" in fault else {}
            self._answer(int(fault[:3]), b'{"error": {"message": "busy"}}', wait)
        elif fault == "closed":
            self.close_connection = True
        else:
            key = self.headers["Authorization"]
            status, data = self.server.proxy.forward(self.path, body, key, fault)
            self._answer(status, data, cut=fault == "cut")

    def _answer(
        self, status: int, data: bytes, headers: Mapping[str, str] | None = None, cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def broken(data: bytes, fault: str | None) -> bytes:
    """Break an answer with a list of vectors or scores."""
    if fault == "not json":
        return data[:-2]
    if fault not in ("reordered", "shorter", "not finite"):
        return data
    answer = json.loads(data)
    items = _items(answer)
    if not items:
        return data
    named = isinstance(items[0], dict)
    if fault == "shorter":
        items.pop()
    elif fault == "not finite":
        first = items[0] if named else {}
        score = next((name for name in ("relevance_score", "score") if name in first), None)
        if score is not None:
            first[score] = float("nan")
        elif named:
            first["embedding"] = [float("nan")] * 8
        else:
            items[0] = [float("nan")] * 8 if isinstance(items[0], list) else float("nan")
    elif named:  # the order of others is all that tells what they belong to
        items.reverse()
    return json.dumps(answer).encode()


def _items(answer: Any) -> list[Any]:
    """Find the vectors or scores, wherever the API has them."""
    if isinstance(answer, list):
        return answer
    for name in ("data", "results", "embeddings", "scores", "output"):
        if name in answer:
            return _items(answer[name])
    return []
