"""Requests that no honest client sends, to a server in a process of its own."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import random
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import httpx
import numpy as np
import pytest

from packages.server.tests.conftest import QUERY
from packages.server.tests.served_process import KEY, ServedProcess
from qwen3_rag import Qwen3Embedder

PLAIN = ("/", "/embed", "/rerank", "/vectors")  # whose clients read an error as a text
HEAD = f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n"


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    content_type: str
    content: bytes


def _answers(server: ServedProcess, *raw: bytes) -> list[Answer]:
    """Send bytes, and read all answers until the server closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        try:
            for part in raw:
                connection.sendall(part)
        except ConnectionError:
            pass  # it was refused before all was sent
        try:
            while part := connection.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
    file, found = io.BytesIO(received), []
    while file.tell() < len(received):
        method = "HEAD" if raw[0].startswith(b"HEAD") else None
        response = http.client.HTTPResponse(cast("socket.socket", _Received(file)), method=method)
        response.begin()
        if response.status == 100:
            continue
        kind = response.headers.get("content-type", "")
        found.append(Answer(response.status, kind, response.read()))
    return found


class _Received:
    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def makefile(self, mode: str) -> io.BufferedIOBase:
        return _Open(self._file)


class _Open(io.BytesIO):
    """A view of one file that stays open, because the next answer is behind this one."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__()
        self._file = file
        self.read, self.readline, self.readinto = file.read, file.readline, file.readinto  # type: ignore[method-assign]  # of the same class


def _request(first: str, *headers: str, body: bytes = b"") -> bytes:
    lines = "".join(f"{one}\r\n" for one in headers)
    return f"{first}\r\n{HEAD}{lines}\r\n".encode("latin-1") + body


def _post(path: str, body: bytes, *headers: str) -> bytes:
    return _request(f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *headers, body=body)


def _is_told(answer: Answer, path: str = "") -> None:
    """Check that a refusal has the form of its API, and a message."""
    assert answer.content_type == "application/json"
    told = json.loads(answer.content)
    assert len(told["message"]) > 20
    if path in PLAIN:
        assert told["error"] == told["message"]
        assert told["error_type"]
    else:
        assert told["error"]["message"] == told["message"]
        assert told["error"]["code"] == answer.status


@pytest.fixture(autouse=True)
def _unharmed(apart: ServedProcess, embedder: Qwen3Embedder) -> Iterator[None]:
    """Check after each test that the server computes as before."""
    yield
    with apart.client() as client:
        answer = client.post("/v1/embeddings", json={"model": "tiny", "input": QUERY})
        found = client.post("/v1/search", json={"query": QUERY}).json()["hits"][0]
    [expected] = embedder.embed_documents([QUERY])
    np.testing.assert_allclose(answer.json()["data"][0]["embedding"], expected, atol=1e-6)
    assert found["text"] == "Paris is the capital of France."


@pytest.fixture(autouse=True, scope="module")
def _told_nothing(apart: ServedProcess) -> Iterator[None]:
    """Check after all tests that the log, which has all levels, tells no key and no exception."""
    yield
    log = apart.log
    assert "TRACE" in log
    assert KEY not in log
    assert "Traceback" not in log, log[log.index("Traceback") :][:3_000]


#: Bytes, and the statuses of the answers.
RAW: dict[str, tuple[bytes, list[int]]] = {
    "no HTTP": (bytes(range(256)) + b"\r\n\r\n", [400]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), [400]),
    "HTTP/0.9": (b"GET /health\r\n\r\n", [400]),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", [200]),
    "HTTP/1.0 without a host": (b"GET /health HTTP/1.0\r\n\r\n", [400]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 400]),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", [400]),
    "another host": (b"GET /health HTTP/1.0\r\nHost: other.example\r\n\r\n", [400]),
    "two hosts": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n", [400]),
    "long header": (_request("GET /health HTTP/1.1", "X: " + "a" * 1_000_000), [400]),
    "many headers": (_request("GET /health HTTP/1.1", *["X: a"] * 50_000), [400]),
    "long path": (_request(f"GET /{'a' * 1_000_000} HTTP/1.1"), [400]),
    "header with NUL": (_request("GET /health HTTP/1.1", "X: a\0b"), [400]),
    "unknown path": (_request("GET /nothing HTTP/1.1"), [404]),
    "path with NUL": (_request("GET /%00 HTTP/1.1"), [404]),
    "path with dots": (_request("GET /../../etc/passwd HTTP/1.1"), [404]),
    "path with escaped dots": (_request("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1"), [404]),
    "path that is no UTF-8": (_request("GET /%ff%fe HTTP/1.1"), [404]),
    "path of latin-1": (_request("GET /\xff HTTP/1.1"), [400]),
    "path with a slash behind": (_request("POST /embed/ HTTP/1.1"), [404]),
    "absolute address": (_request("GET http://other.example/health HTTP/1.1"), [404]),
    "HEAD": (_request("HEAD /nothing HTTP/1.1"), [404]),
    "OPTIONS": (_request("OPTIONS /embed HTTP/1.1"), [405]),
    "OPTIONS of all": (_request("OPTIONS * HTTP/1.1"), [404]),
    "PUT": (_request("PUT /embed HTTP/1.1"), [405]),
    "TRACE": (_request("TRACE /health HTTP/1.1"), [405]),
    "CONNECT": (_request("CONNECT other.example:443 HTTP/1.1"), [404]),
    "invented method": (_request("BREW /embed HTTP/1.1"), [405]),
    "websocket": (
        _request(
            "GET / HTTP/1.1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        [200],
    ),
    "HTTP/2 by an upgrade": (_request("GET /health HTTP/1.1", "Upgrade: h2c"), [200]),
    "body of GET": (_request("GET /health HTTP/1.1", "Content-Length: 2", body=b"{}"), [200]),
    "negative length": (_request("POST /embed HTTP/1.1", "Content-Length: -5"), [400]),
    "two lengths": (_post("/embed", b"{}", "Content-Length: 5"), [400]),
    "length of 19 digits": (_request("POST /embed HTTP/1.1", f"Content-Length: {'9' * 19}"), [413]),
    "length of 5,000 digits": (
        _request("POST /embed HTTP/1.1", f"Content-Length: {'9' * 5_000}"),
        [400],
    ),
    "length beside chunks": (
        _post("/embed", b"0\r\n\r\n", "Transfer-Encoding: chunked"),
        [400],
    ),
    "length that is too small": (
        _request("POST /embed HTTP/1.1", "Content-Length: 5", body=b'{"inputs": "a"}'),
        [400],
    ),
    "chunk without a length": (
        _request("POST /embed HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\n"),
        [400],
    ),
    "chunk with a wrong length": (
        _request("POST /embed HTTP/1.1", "Transfer-Encoding: chunked", body=b'3\r\n{"iXX\r\n'),
        [400],
    ),
    "compressed chunks": (
        _request("POST /embed HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
        [400],
    ),
    "gzip bomb": (
        _post("/embed", gzip.compress(b" " * 50_000_000), "Content-Encoding: gzip"),
        [415],
    ),
    "promise of a body": (
        _post("/embed", b'{"inputs": "a"}', "Expect: 100-continue"),
        [200],
    ),
    "body of 40 MB": (_post("/embed", b" " * 40_000_000), [413]),
    "UTF-16": (
        _post("/embed", '{"inputs": "a"}'.encode("utf-16"), "Content-Type: x; charset=utf-16"),
        [400],
    ),
    "byte order mark": (_post("/embed", b'\xef\xbb\xbf{"inputs": "a"}'), [400]),
    "form": (
        _post("/embed", b"inputs=a", "Content-Type: application/x-www-form-urlencoded"),
        [400],
    ),
    "lists in lists": (_post("/embed", b'{"inputs": ' + b"[" * 100_000), [400]),
    "objects in objects": (_post("/embed", b'{"a":' * 100_000), [400]),
    "many lists": (_post("/embed", b'{"inputs": [' + b"[]," * 1_000_000 + b"1]}"), [400]),
    "NaN": (_post("/v1/search", b'{"query": "a", "min_score": NaN}'), [400]),
    "infinity": (_post("/v1/search", b'{"query": "a", "min_score": 1e999}'), [400]),
    "integer of a million digits": (
        _post("/v1/search", b'{"query": "a", "limit": ' + b"9" * 1_000_000 + b"}"),
        [400],
    ),
    "lone surrogate": (_post("/embed", rb'{"inputs": "\ud800"}'), [400]),
    "field twice": (_post("/embed", b'{"inputs": "a", "inputs": 3}'), [400]),
    "field with a long name": (
        _post("/embed", b'{"inputs": "a", "' + b"x" * 1_000_000 + b'": 1}'),
        [400],
    ),
    "key of other characters": (
        b"GET /info HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        [401],
    ),
    "three requests at once": (
        _post("/embed", b'{"inputs": "a"}').replace(b"close", b"keep-alive") * 2
        + _post("/embed", b'{"inputs": "b"}'),
        [200, 200, 200],
    ),
    "no HTTP behind a request": (
        _post("/embed", b'{"inputs": "a"}').replace(b"close", b"keep-alive") + b"\x00\r\n\r\n",
        [200, 400],
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_each_answer_is_json_that_says_what_is_wrong(apart: ServedProcess, name: str) -> None:
    raw, statuses = RAW[name]
    answers = _answers(apart, raw)

    assert [one.status for one in answers] == statuses
    for one in answers:
        if one.status >= 400 and name != "HEAD":
            read = one.status not in (404, 405) and b"not a request of HTTP" not in one.content
            _is_told(one, raw.split()[1].decode() if read and raw.startswith(b"POST /") else "")
            assert len(one.content) < 2_000


#: A body of each path that is answered.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": "tiny", "input": "a"},
    "/embed": {"inputs": "a"},
    "/vectors": {"text": "a"},
    "/rerank": {"query": "a", "texts": ["b"]},
    "/v1/rerank": {"query": "a", "documents": ["b"]},
    "/v2/rerank": {"query": "a", "documents": ["b"]},
    "/v1/search": {"query": "France"},
}
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, 2**63, 2**64 - 1, "", " ", "\0", "a" * 5_000),
    *([], [None], [[]], [1], [""], ["\0"], [2**64 - 1], ["a"] * 3_000),
    *({}, {"": 1}, {"a": [1]}, {"place": [2**64 - 1]}, {"": ["a"]}, {"a\0[": ["b"]}),
    *({"text": 1}, {"text": "a", "b": "c"}, {"dense": 1e308, "bm25": 1e308}, {"dense": -1}),
    *({"dimensions": 2**64 - 1}, {"dimensions": "a"}, {"task_type": []}),
]


@pytest.mark.parametrize("share", [0.3, pytest.param(1, marks=pytest.mark.slow)])
def test_no_value_in_no_field_is_an_error_of_the_server(apart: ServedProcess, share: float) -> None:
    chance = random.Random(4711)
    with apart.client() as client:
        description = client.get("/openapi.json").json()
        schemas = description["components"]["schemas"]
        for path, methods in description["paths"].items():
            if "post" not in methods:
                continue
            schema = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
            fields = schemas[schema["$ref"].rpartition("/")[2]]["properties"]
            for field in (*fields, "unknown"):
                for value in chance.sample(VALUES, round(share * len(VALUES))):
                    _is_no_error(client, path, BODIES.get(path, {}) | {field: value})


def _is_no_error(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code in (200, 400, 404, 413, 422, 501), (path, body)
    if answer.status_code == 200:
        numbers = re.sub(r'"(cut_at|start|stop|token_strs)":(null|\[[^]]*\])', "", answer.text)
        assert "null" not in numbers, (path, body)  # what JSON has for NaN and infinity
    else:
        _is_told(Answer(answer.status_code, answer.headers["content-type"], answer.content), path)
        assert len(answer.content) < 2_000
        again = client.post(path, json=body)  # now with what was kept for the first
        assert again.status_code == answer.status_code, (path, body)


@pytest.mark.parametrize("count", [200, pytest.param(2_000, marks=pytest.mark.slow)])
def test_connections_that_are_cut_anywhere_leave_nothing_behind(
    apart: ServedProcess, count: int
) -> None:
    chance = random.Random(4711)
    bodies = [json.dumps(body).encode() for body in BODIES.values()]

    def cut(number: int) -> None:
        path, body = chance.choice([*zip(BODIES, bodies, strict=True)])
        raw = _post(path, body)
        with socket.create_connection(("127.0.0.1", apart.port), timeout=60) as connection:
            connection.sendall(raw[: chance.randrange(len(raw) + 1)] if number % 2 else raw)
            if number % 4 == 0:
                connection.recv(chance.randrange(1, 5_000))
            if number % 3 == 0:  # with a reset, instead of an end
                linger = b"\x01\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(cut, range(count)))
    with apart.client() as client:
        measures = client.get("/metrics").text
    assert "qwen3_rag_queue_length 0.0" in measures


def test_a_body_that_comes_byte_by_byte_is_answered_with_the_others(apart: ServedProcess) -> None:
    raw = _post("/embed", b'{"inputs": "a", "dimensions": 32}')
    [answer] = _answers(apart, *(raw[place : place + 1] for place in range(len(raw))))
    assert len(json.loads(answer.content)[0]) == 32


def test_bodies_of_many_connections_are_held_within_the_limit() -> None:
    most = 4 * 2**20
    body = b'{"inputs": 1' + b" " * (most - 13)
    raw = _request("POST /embed HTTP/1.1", f"Content-Length: {most}", body=body)
    with ServedProcess(max_body=most, max_bodies=4 * most) as server:
        before = server.memory("VmHWM")
        connections = []
        for _ in range(80):
            connections.append(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connections[-1].sendall(raw)
        grown = server.memory("VmHWM") - before
        for one in connections:
            one.sendall(b"}")
        statuses = [one.recv(12)[-3:] for one in connections]
        for one in connections:
            one.close()
        with server.client() as client:
            assert client.post("/embed", content=body + b"}").status_code == 400

    assert {*statuses} == {b"400", b"429"}
    assert 1 <= statuses.count(b"400") <= 4
    assert grown < 32 * most  # of 80 that were sent


def test_a_client_that_sends_all_before_it_reads_is_told_why_it_was_refused(
    apart: ServedProcess,
) -> None:
    # urllib asks for the connection's end, at which the system drops an answer in front of bytes
    # that nobody has read.
    request = urllib.request.Request(
        f"{apart.url}/embed", b" " * 40_000_000, {"authorization": f"Bearer {KEY}"}
    )
    with pytest.raises(urllib.error.HTTPError, match="413") as refused:
        urllib.request.urlopen(request, timeout=60)
    assert "longer than" in json.load(refused.value)["message"]


def test_a_client_that_waits_for_a_go_is_refused_at_once(apart: ServedProcess) -> None:
    headers = ("Content-Length: 40000000", "Expect: 100-continue")
    with socket.create_connection(("127.0.0.1", apart.port), timeout=60) as connection:
        connection.sendall(_request("POST /embed HTTP/1.1", *headers))
        assert connection.recv(12) == b"HTTP/1.1 413"  # and not 100, which asks for the body
