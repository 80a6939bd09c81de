"""Answers of servers without an end, and the longest that are right."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from qwen3_rag import BackendError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag_testkit.answering_server import AnsweringServer, Exchange

pytest.importorskip("tokenizers", reason="models on servers need tokenizers")

TEXTS = ["one", "two"]
PART = b"0, " * 20_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringServer]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    server = AnsweringServer()
    yield server
    server.stop()


def remote(server: AnsweringServer, **settings: Any) -> Remote:
    # What ends a call that takes so long is not the time.
    return Remote(server.url, **{"api": "openai", "timeout": 300, "max_retries": 3, **settings})


class Endless:
    """Sends the same data until the client closes the connection, and counts the bytes."""

    def __init__(self, first: bytes, part: bytes, status: int = 200, headers: Any = None) -> None:
        self.first, self.part = first, part
        self.status, self.headers = status, headers or {}
        self.requests = self.sent = 0

    def __call__(self, exchange: Exchange, body: dict[str, Any]) -> None:
        self.requests += 1
        exchange.close_connection = True
        exchange.send(self.status, self.first, **{"Content-Length": str(10**15), **self.headers})
        while True:  # until the write fails
            exchange.wfile.write(self.part)
            self.sent += len(self.part)


def compressed() -> Endless:
    squeeze = zlib.compressobj(wbits=31)
    first = squeeze.compress(b"[") + squeeze.flush(zlib.Z_SYNC_FLUSH)
    part = squeeze.compress(bytes(2**24)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return Endless(first, part, headers={"Content-Encoding": "gzip"})


ENDLESS: dict[str, Callable[[], Endless]] = {
    "numbers": lambda: Endless(b'{"data": [{"index": 0, "embedding": [', PART),
    "white space": lambda: Endless(b"", b" " * 60_000),
    "compressed": compressed,
    "no JSON": lambda: Endless(b"", b"\xff" * 60_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_an_end_is_an_error_that_says_so(
    server: AnsweringServer, kind: str
) -> None:
    with Qwen3Embedder("served", backend=remote(server)) as embedder:
        embedder.warm_up()
        server.answer = endless = ENDLESS[kind]()
        tracemalloc.start()
        with pytest.raises(BackendError, match=r"more than \d MB, which is more than the results"):
            embedder.embed_documents(TEXTS)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert endless.requests == 1
    assert endless.sent < 40e6  # with what waits in the buffers of both sides
    assert peak < 150e6


@pytest.mark.parametrize("status", [400, 401, 500])
def test_of_an_error_without_an_end_the_beginning_is_read(
    server: AnsweringServer, status: int
) -> None:
    with Qwen3Embedder("served", backend=remote(server, max_retries=0)) as embedder:
        embedder.warm_up()
        server.answer = endless = Endless(b"out of memory ", PART, status)
        with pytest.raises(BackendError, match=rf"status {status}: out of memory 0, 0"):
            embedder.embed_documents(TEXTS)

    assert endless.sent < 40e6


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd"])
def test_a_compression_that_was_not_asked_for_is_refused(
    server: AnsweringServer, coding: str
) -> None:
    """A few bytes of it may expand to any number."""
    with Qwen3Embedder("served", backend=remote(server)) as embedder:
        embedder.warm_up()
        server.answer = lambda exchange, _: exchange.send(
            200, b"{}", **{"Content-Encoding": coding}
        )
        with pytest.raises(BackendError, match=f"compression '{coding}'"):
            embedder.embed_documents(TEXTS)


def test_a_list_of_models_without_an_end_is_no_list(
    server: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Endless(b'{"data": [', b'{"id": "a"}, ' * 5_000)
    monkeypatch.setattr(Exchange, "do_GET", lambda exchange: endless(exchange, {}))

    with Qwen3Embedder("served", backend=remote(server)) as embedder:
        assert embedder.embed_documents(TEXTS).shape == (2, 8)

    assert 0 < endless.sent < 40e6


def indented(exchange: Exchange, body: dict[str, Any]) -> None:
    """Answer with the largest vectors of a published model, in the longest form of JSON."""
    numbers = np.random.default_rng(0).standard_normal((len(body["input"]), 4_096)) * 1e-5
    data = [{"index": index, "embedding": row} for index, row in enumerate(numbers.tolist())]
    exchange.send(200, json.dumps({"data": data}, indent=8).encode())


def repeating(exchange: Exchange, body: dict[str, Any]) -> None:
    """Answer with the documents, in the longest form of JSON."""
    results = [
        {"index": index, "relevance_score": 1 / (2 + len(text)), "document": {"text": text}}
        for index, text in enumerate(body["documents"])
    ]
    exchange.send_json({"results": results})


def test_the_longest_vectors_are_read(server: AnsweringServer) -> None:
    server.answer = indented
    with Qwen3Embedder("served", backend=remote(server)) as embedder:
        vectors = embedder.embed_documents([str(number) for number in range(64)])

    assert vectors.shape == (64, 4_096)


def test_documents_that_the_server_repeats_are_read(server: AnsweringServer) -> None:
    server.answer = repeating
    with Qwen3Reranker("served", backend=remote(server, api="cohere")) as reranker:
        found = reranker.rank("query", ["é" * count for count in (2_000_000, 1_900_000)])

    assert [one.index for one in found] == [1, 0]
