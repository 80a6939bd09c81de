"""What a Qdrant server answers instead of a result: repeated, or an error that names a remedy.

The messages are those of Qdrant 1.18.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from qwen3_rag import StoreError
from qwen3_rag.integration import Call
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_hybrid.stores.qdrant import requests
from qwen3_rag_testkit.loops import keeps_ticking
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.store_corpus import make_embedder

LIMITED = {"Retry-After": "3"}
NOT_FOUND = "Not found: Collection `mine` doesn't exist!"
WRONG_SIZE = "Wrong input: Vector dimension error: expected dim: 48, got 64"

TOO_LARGE = "JSON payload (40000560 bytes) is larger than allowed (limit: 33554432 bytes)."


class Refusing:
    """Answers every request over REST in the same way, and counts them."""

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        self.requests = 0
        body = reason if reason[:1] == "<" else json.dumps({"status": {"error": reason}})

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler: Any) -> None:
                self.requests += 1
                handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                handler.send_header("Content-Length", str(len(body.encode())))
                handler.end_headers()
                handler.wfile.write(body.encode())

            do_PUT = do_POST = do_PATCH = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Refusing:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def refusing_grpc(code: grpc.StatusCode, reason: str) -> Iterator[int]:
    """Answer every request over gRPC in the same way; yields the port."""

    def abort(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, reason)
        raise AssertionError

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(abort)

    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would be waited between two requests, 15 seconds in all, and is not."""
    waited: list[float] = []

    async def awaited() -> None:
        """Do not wait."""

    def pause(seconds: float) -> Call:
        waited.append(seconds)
        return Call(lambda: None, awaited)

    monkeypatch.setattr(requests, "_pause", pause)
    return waited


@pytest.mark.parametrize(
    ("status", "headers", "reason", "message"),
    [
        (401, {}, "Must provide an API key", r"answered 401: Must provide .*api_key="),
        (403, {}, "Forbidden: Write access is required", r"403: .*Write access.* Use an API key"),
        (404, {}, NOT_FOUND, r"There is no collection 'mine'\. Make it with `create\(\)`"),
        (404, {}, "<html>no /mine</html>", r"404: <html>no /mine.*is that of a Qdrant server"),
        (400, {}, WRONG_SIZE, r"expected dim: 48, got 64\.$"),
        (400, {}, TOO_LARGE, r"larger than allowed.*batch_size.*max_request_size_mb"),
        (413, {}, "<html>nginx</html>", r"batch_size.*max_request_size_mb"),
        (429, LIMITED, "Rate limiting exceeded", r"answered 429: Rate .*strict_mode_config"),
        (500, {}, "Service internal error: No space left on device", r"500: .*No space left"),
        (503, {}, "1 of 1 read operations failed", r"503: .*Check that the server runs"),
    ],
)
def test_what_a_server_answers_names_a_remedy(
    status: int, headers: dict[str, str], reason: str, message: str, waits: list[float]
) -> None:
    with Refusing(status, reason, headers) as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        searcher = HybridSearcher(QdrantStore(client, "mine"), make_embedder())

        for call in (lambda: searcher.search("x"), lambda: searcher.delete(["a"])):
            with pytest.raises(StoreError, match=message):
                call()


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key", r"UNAUTHENTICATED.*api_key="),
        (grpc.StatusCode.PERMISSION_DENIED, "Write access required", r"DENIED.* Use an API key"),
        (grpc.StatusCode.NOT_FOUND, NOT_FOUND, r"There is no collection 'mine'"),
        (grpc.StatusCode.INVALID_ARGUMENT, WRONG_SIZE, r"expected dim: 48, got 64\.$"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Rate limiting exceeded", r"strict_mode_config"),
        (grpc.StatusCode.UNAVAILABLE, "overloaded", r"UNAVAILABLE: overloaded\. Check that"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline", r"longer `timeout`"),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown method", r"Update the server"),
    ],
)
def test_grpc_and_async_clients_raise_the_same(
    code: grpc.StatusCode, reason: str, message: str, waits: list[float]
) -> None:
    with refusing_grpc(code, reason) as port:
        arguments: dict[str, Any] = {"grpc_port": port, "prefer_grpc": True}
        client = QdrantClient("127.0.0.1", check_compatibility=False, **arguments)

        async def everything() -> None:
            async_client = AsyncQdrantClient("127.0.0.1", check_compatibility=False, **arguments)
            store = QdrantStore(client, "mine", async_client=async_client)
            searcher = HybridSearcher(store, make_embedder())
            for call in (lambda: searcher.asearch("x"), lambda: searcher.adelete(["a"])):
                with pytest.raises(StoreError, match=message):
                    await call()
            await async_client.close()

        asyncio.run(everything())
        searcher = HybridSearcher(QdrantStore(client, "mine"), make_embedder())
        for call in (lambda: searcher.search("x"), lambda: searcher.delete(["a"])):
            with pytest.raises(StoreError, match=message):
                call()
        client.close()


@pytest.mark.parametrize(
    ("status", "headers", "sent", "waited"),
    [
        (503, {}, 6, [0.5, 1, 2, 4, 8]),
        (429, LIMITED, 6, [3, 3, 3, 4, 8]),
        (429, {"Retry-After": "3600"}, 6, [60] * 5),
        (400, {}, 1, []),
        (401, {}, 1, []),
    ],
)
def test_writes_are_repeated_a_bounded_number_of_times(
    status: int,
    headers: dict[str, str],
    sent: int,
    waited: list[float],
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Refusing(status, "no", headers) as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        searcher = HybridSearcher(QdrantStore(client, "mine"), make_embedder())

        with pytest.raises(StoreError):
            searcher.delete(["a"])
        assert (server.requests, waits) == (sent, waited)
        assert [line.rpartition(". ")[2] for line in caplog.messages] == [
            f"Trying again in {seconds:g} s." for seconds in waited
        ]
        with pytest.raises(StoreError):
            searcher.search("x")
        assert server.requests == sent + 1  # whoever searches waits


@pytest.mark.parametrize("is_async", [False, True])
def test_a_write_that_is_taken_later_is_stored(is_async: bool) -> None:
    failures = [ConnectionResetError, ConnectionResetError]

    def drop(request: str) -> None:
        if request == "PUT /collections/mine/points" and failures:
            raise failures.pop()

    with QdrantServer() as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        async_client = AsyncQdrantClient(url=server.url, check_compatibility=False)
        store = QdrantStore(client, "mine", async_client=async_client)
        searcher = HybridSearcher(store, make_embedder())
        searcher.create()
        server.on_request = drop

        documents = [Document(n, f"text {n}") for n in range(3)]
        if is_async:
            asyncio.run(keeps_ticking(searcher.aadd(documents)))
        else:
            searcher.add(documents)

        assert failures == []
        assert searcher.count() == 3
        asyncio.run(async_client.close())
        client.close()
