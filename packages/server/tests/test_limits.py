"""Limits, keys and connections that end early."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Backend, BackendSpec, Output, Role
from qwen3_rag_server import RunningServer, Served, Settings
from qwen3_rag_testkit.backends import DeterministicBackend, RunningDeterministic


def _post(server: RunningServer, texts: int = 1, **options: Any) -> httpx.Response:
    body = {"model": "any", "input": ["a"] * texts}
    return httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60, **options)


class _Held(RunningDeterministic):
    """Answers when it is let go, and notes what was cancelled."""

    def __init__(self) -> None:
        super().__init__("embedding", 64)
        self.asked: list[Future[Output]] = []

    def run(self, *arguments: Any) -> Future[Output]:
        self.asked.append(Future())
        self.asked[-1].answer = super().run(*arguments)  # type: ignore[attr-defined]  # for `let_go`
        return self.asked[-1]

    def let_go(self) -> None:
        while self.asked:
            one = self.asked.pop()
            if one.set_running_or_notify_cancel():
                one.set_result(one.answer.result())  # type: ignore[attr-defined]  # set by `run`


class _HeldSpec(BackendSpec, kind=""):
    def __init__(self, running: _Held) -> None:
        self.running = running

    def start(self, model: str, role: Role) -> Backend:
        return self.running


@pytest.fixture
def held() -> _Held:
    return _Held()


@pytest.fixture
def started(held: _Held) -> Iterator[Callable[..., RunningServer]]:
    running: list[RunningServer] = []

    def start(**settings: Any) -> RunningServer:
        embedder = Qwen3Embedder("any", backend=_HeldSpec(held))
        running.append(RunningServer(Served(embedder), Settings(**settings), port=0))
        return running[-1].__enter__()

    yield start
    held.let_go()
    for one in running:
        one.__exit__()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_texts_beyond_the_queue_are_answered_with_429_and_when_to_come_back(
    held: _Held, started: Callable[..., RunningServer]
) -> None:
    server = started(max_queue=4)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(_post, server, 3)
        _until(lambda: len(held.asked) == 1)
        refused = _post(server, 2)
        held.let_go()
        assert first.result().status_code == 200

    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "3 texts are waiting" in refused.json()["error"]["message"]


def test_a_request_larger_than_the_queue_is_answered_when_nothing_waits(
    embedder: Qwen3Embedder,
) -> None:
    with RunningServer(Served(embedder), Settings(max_queue=1), port=0) as server:
        body = {"model": "tiny", "input": DOCUMENTS}
        assert httpx.post(f"{server.url}/v1/embeddings", json=body).status_code == 200


def test_work_is_cancelled_when_its_client_goes(
    held: _Held, started: Callable[..., RunningServer]
) -> None:
    server = started()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/v1/embeddings",
            json={"model": "any", "input": "a"},
            timeout=httpx.Timeout(5, read=0.2),
        )

    _until(lambda: bool(held.asked) and held.asked[0].cancelled())
    _until(lambda: 'status="499"' in httpx.get(f"{server.url}/metrics").text)
    assert "qwen3_rag_queue_length 0.0" in httpx.get(f"{server.url}/metrics").text


def test_requests_under_way_are_answered_when_the_server_stops(
    held: _Held, started: Callable[..., RunningServer]
) -> None:
    server = started()
    with ThreadPoolExecutor() as threads:
        first = threads.submit(_post, server)
        _until(lambda: len(held.asked) == 1)
        stopping = threads.submit(server.__exit__)
        time.sleep(0.3)
        held.let_go()
        assert first.result().status_code == 200
        stopping.result()
    with pytest.raises(httpx.TransportError):
        _post(server)


def test_requests_that_are_not_ready_when_the_time_to_stop_is_over_are_told(
    held: _Held,
) -> None:
    served = Served(Qwen3Embedder("any", backend=_HeldSpec(held)))
    with ThreadPoolExecutor() as threads:
        with RunningServer(served, port=0, stop_within=1) as server:
            first = threads.submit(_post, server)
            _until(lambda: len(held.asked) == 1)
        answer = first.result()

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "is stopping" in answer.json()["error"]["message"]
    assert held.asked[0].cancelled()


def test_bodies_are_limited_in_size_texts_and_time(
    started: Callable[..., RunningServer],
) -> None:
    server = started(max_body=1_000, max_texts=2, body_timeout=0.3)

    assert _post(server, 3).status_code == 413
    long = httpx.post(f"{server.url}/v1/embeddings", content=b"[" * 2_000)
    parts = (b"x" * 100 for _ in range(100))  # without a length in the headers
    unknown = httpx.post(f"{server.url}/v1/embeddings", content=parts)
    assert (long.status_code, unknown.status_code) == (413, 413)

    with socket.create_connection((server.host, server.port)) as slow:
        slow.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        slow.settimeout(20)
        assert slow.recv(12) == b"HTTP/1.1 408"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 100_000, b"NaN", b'{"input": 1e999}']
)
def test_bodies_that_are_no_json_are_refused(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/v1/embeddings", content=content)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(("The body", "The field"))


def test_a_key_is_needed_everywhere_but_where_nothing_is_told() -> None:
    served = Served(Qwen3Embedder("any", backend=DeterministicBackend()))
    with RunningServer(served, Settings(api_keys=["one", "two"]), port=0) as server:
        for path in ("/v1/models", "/meta", "/info", "/metrics"):
            assert httpx.get(f"{server.url}{path}").status_code == 401, path
        for path in ("/health", "/.well-known/ready", "/openapi.json"):
            assert httpx.get(f"{server.url}{path}").status_code == 200, path
        for key in ("", "Bearer", "Bearer thre", "Bearer onetwo", "Basic one", "one"):
            assert _post(server, headers={"authorization": key}).status_code == 401, key
        for path in ("/vectors", "/rerank"):
            assert httpx.post(f"{server.url}{path}", json={}).status_code == 401, path
        for key in ("Bearer one", "bearer two"):
            assert _post(server, headers={"authorization": key}).status_code == 200


def test_stores_send_no_key_and_are_answered_where_that_was_decided(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    settings = Settings(api_keys=["one"], open_hooks=True)
    with RunningServer(Served(embedder, reranker), settings, port=0) as server:
        rerank = {"query": QUERY, "documents": DOCUMENTS, "property": ""}
        assert httpx.post(f"{server.url}/rerank", json=rerank).status_code == 200
        assert httpx.post(f"{server.url}/vectors", json={"text": "a"}).status_code == 200
        assert httpx.get(f"{server.url}/meta").status_code == 200
        assert httpx.post(f"{server.url}/v1/rerank", json=rerank).status_code == 401
        assert httpx.post(f"{server.url}/embed", json={"inputs": "a"}).status_code == 401


@pytest.mark.parametrize("key", ["", "with space", "schlüssel", "a\nb"])
def test_a_key_that_no_header_holds_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(InputError) as refused:
        Settings(api_keys=[key])
    assert not key or key not in str(refused.value)
    assert "secret-key" not in repr(Settings(api_keys=["secret-key"]))


def test_a_page_of_another_site_is_not_answered(client: httpx.Client) -> None:
    assert client.get("/meta", headers={"host": "rebound.example"}).status_code == 400
    assert client.get("/meta", headers={"host": "localhost:1234"}).status_code == 200


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_headers(
    client: httpx.Client,
) -> None:
    def seconds() -> float:
        begun = time.monotonic()
        client.get("/health")
        return time.monotonic() - begun

    # Else all but the first few take 40 ms. One try in five is enough on a busy machine.
    assert min(sorted(seconds() for _ in range(21))[10] for _ in range(5)) < 0.03


def test_a_port_in_use_is_told(server: RunningServer) -> None:
    with pytest.raises(InputError, match=f"port {server.port}"):
        RunningServer(Served(), port=server.port)


def test_many_connections_at_once_get_each_its_own_answer(
    server: RunningServer, embedder: Qwen3Embedder
) -> None:
    texts = [f"text number {number}" for number in range(64)]
    expected = embedder.embed_documents(texts)
    wrong: list[str] = []

    def ask(index: int) -> None:
        body = {"model": "tiny", "input": texts[index]}
        answer = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60).json()
        got = answer["data"][0]["embedding"]
        if max(abs(got - expected[index])) > 1e-5:
            wrong.append(texts[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(64)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_who_is_told_the_address_can_ask_before_requests_are_answered() -> None:
    server = RunningServer(Served(Qwen3Embedder("any", backend=DeterministicBackend())), port=0)
    server.listen()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with server:
            assert connection.recv(15).startswith(b"HTTP/1.1 200")
