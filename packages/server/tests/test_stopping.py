"""A server that is stopped and killed under load, and started again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from packages.server.tests.conftest import QUERY
from packages.server.tests.served_process import ServedProcess
from qwen3_rag import Qwen3Embedder

REQUESTS, TEXTS = 8, 8


def _texts(number: int) -> list[str]:
    return [f"text {index} of request {number} " + "word " * 100 for index in range(TEXTS)]


@contextmanager
def _under_way(server: ServedProcess) -> Iterator[list[Future[httpx.Response]]]:
    """Send requests, and go on when all have been admitted; few are answered by then."""
    with ThreadPoolExecutor(REQUESTS) as threads, server.client() as client:

        def ask(number: int) -> httpx.Response:
            return client.post("/v1/embeddings", json={"model": "tiny", "input": _texts(number)})

        before = _admitted(client)
        asked = [threads.submit(ask, number) for number in range(REQUESTS)]
        deadline = time.monotonic() + 60
        while _admitted(client) < before + REQUESTS * TEXTS:
            assert time.monotonic() < deadline
        yield asked


def _admitted(client: httpx.Client) -> float:
    found = re.search(r"^qwen3_rag_texts_total (\S+)$", client.get("/metrics").text, re.M)
    assert found is not None
    return float(found[1])


def _serves(server: ServedProcess) -> bool:
    with server.client() as client:
        hits = client.post("/v1/search", json={"query": QUERY}).json()["hits"]
    return bool(hits[0]["text"] == "Paris is the capital of France.")


def test_a_stop_under_load_answers_what_is_under_way_and_a_kill_ends_it(
    apart: ServedProcess, embedder: Qwen3Embedder
) -> None:
    with _under_way(apart) as asked:
        apart.stop()
        answers = [one.result() for one in asked]

    for number, answer in enumerate(answers):
        assert answer.status_code == 200
        got = [one["embedding"] for one in answer.json()["data"]]
        expected = embedder.embed_documents(_texts(number))
        np.testing.assert_allclose(got, expected, atol=1e-5)
    with pytest.raises(httpx.ConnectError):
        _serves(apart)
    apart.start()
    assert _serves(apart)

    with _under_way(apart) as asked:
        apart.kill()
        lost = [one.exception() for one in asked]
    assert sum(isinstance(one, httpx.TransportError) for one in lost) > REQUESTS / 2
    assert all(one is None or isinstance(one, httpx.TransportError) for one in lost)
    apart.start()
    assert _serves(apart)
