"""Answers from an index by a chat model."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag.chat import NOT_FOUND, Chat
from qwen3_rag_hybrid import HybridSearcher
from qwen3_rag_server import RunningServer, Served, Settings
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint, Failure

ANSWER = "Paris is the capital [1], and 한국어 is not [7]."


@pytest.fixture
def endpoint() -> Iterator[ChatEndpoint]:
    with ChatEndpoint(lambda messages: ANSWER, api_key="k3y") as running:
        yield running


@pytest.fixture
def started(
    searcher: HybridSearcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RunningServer]]:
    monkeypatch.setenv("CHAT_KEY", "k3y")
    running: list[RunningServer] = []

    def start(endpoint: ChatEndpoint, **settings: Any) -> RunningServer:
        chat = Chat(endpoint.url, "writer", api_key_env="CHAT_KEY", retries=0)
        served = Served(searcher.embedder, searcher.reranker, {"facts": searcher}, chat)
        running.append(RunningServer(served, Settings(**settings), port=0))
        return running[-1].__enter__()

    yield start
    for one in running:
        one.__exit__()


def _ask(server: RunningServer, question: str = QUERY, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/ask", json={"question": question, **body}, timeout=60)


def _events(answer: httpx.Response) -> list[tuple[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def test_an_answer_has_numbered_sources_of_the_hits(
    endpoint: ChatEndpoint, started: Callable[..., RunningServer], searcher: HybridSearcher
) -> None:
    answer = _ask(started(endpoint), limit=2).json()

    hits = searcher.search(QUERY, limit=2)
    assert (answer["text"], answer["found"], answer["cut"]) == (ANSWER, True, False)
    assert (answer["index"], answer["documents"], answer["unknown"]) == ("facts", 2, [7])
    [source] = answer["sources"]
    assert (source["number"], source["id"], source["text"]) == (1, hits[0].id, hits[0].text)
    [request] = endpoint.requests
    assert request["model"] == "writer"
    assert request["messages"][-1]["content"].count("<document number=") == 2


def test_the_events_are_the_hits_the_text_and_the_same_answer(
    endpoint: ChatEndpoint, started: Callable[..., RunningServer]
) -> None:
    server = started(endpoint)
    whole = _ask(server, limit=2).json()
    (first, hits), *parts, (last, answer) = _events(_ask(server, limit=2, stream=True))

    assert (first, last) == ("hits", "answer")
    assert [one["number"] for one in hits["hits"]] == [1, 2]
    assert {name for name, _ in parts} == {"text"}
    assert len(parts) > 1
    assert "".join(one["text"] for _, one in parts) == ANSWER
    for one in (whole, answer):
        del one["seconds"]
    assert answer == whole


def test_below_the_score_or_without_a_hit_nobody_is_asked(
    endpoint: ChatEndpoint, started: Callable[..., RunningServer]
) -> None:
    server = started(endpoint)
    for options in ({"min_score": 0.99}, {"filter": {"place": [5]}}):
        answer = _ask(server, **options).json()
        assert (answer["text"], answer["found"], answer["sources"]) == (NOT_FOUND, False, [])
    events = _events(_ask(server, min_score=0.99, stream=True))
    assert [name for name, _ in events] == ["hits", "text", "answer"]
    assert endpoint.requests == []


def test_options_of_the_search_are_those_of_a_search(
    endpoint: ChatEndpoint, started: Callable[..., RunningServer]
) -> None:
    server = started(endpoint)
    _ask(server, filter={"place": [0]}, rerank_depth=0, weights={"dense": 0, "bm25": 1})

    read = endpoint.requests[0]["messages"][-1]["content"]
    assert DOCUMENTS[1] not in read
    assert DOCUMENTS[2] in read


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"question": " "}, 400, "`question` is empty"),
        ({"limit": 0}, 400, "`limit`"),
        ({"limit": 101}, 400, "`limit`"),
        ({"index": "other"}, 404, "'facts'"),
        ({"query": QUERY}, 400, "'query'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    endpoint: ChatEndpoint,
    started: Callable[..., RunningServer],
    body: dict[str, Any],
    status: int,
    told: str,
    stream: bool,
) -> None:
    answer = _ask(started(endpoint), **body, stream=stream)

    assert answer.status_code == status, answer.text
    assert told in answer.json()["message"]
    assert endpoint.requests == []


def test_without_a_chat_model_the_answer_says_so(client: httpx.Client) -> None:
    answer = client.post("/v1/ask", json={"question": QUERY})

    assert answer.status_code == 404
    assert "--chat-url" in answer.json()["message"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Failure(500, "no memory"), "status 500: no memory"),
        (Failure(401, "wrong key k3y"), "status 401"),
        (Failure(None, after=1), "broke"),
        (Failure(500, "overloaded", after=1), "overloaded"),
    ],
)
def test_a_chat_endpoint_that_fails_is_told_without_its_address_and_key(
    started: Callable[..., RunningServer], failure: Failure, told: str
) -> None:
    with ChatEndpoint(lambda messages: ANSWER, failures=[failure, failure]) as endpoint:
        server = started(endpoint)
        whole = _ask(server)
        events = _events(_ask(server, stream=True))
        again = _ask(server)

    assert whole.status_code == 502
    assert whole.json()["error"]["type"] == "server_error"
    name, error = events[-1]
    assert (events[0][0], name) == ("hits", "error")
    for message in (whole.json()["message"], error["message"]):
        assert told in message
        assert "k3y" not in message
        assert endpoint.url not in message
        assert "/chat/completions" not in message
    assert again.json()["text"] == ANSWER


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_kept_of_a_question_whose_asker_goes(
    started: Callable[..., RunningServer], stream: bool
) -> None:
    silent = Failure()  # takes the request and sends nothing
    with ChatEndpoint(failures=[silent]) as endpoint:
        server = started(endpoint)

        def told(line: str) -> bool:
            return line in httpx.get(f"{server.url}/metrics").text

        with socket.create_connection((server.host, server.port)) as asker:
            body = json.dumps({"question": QUERY, "stream": stream})
            head = f"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
            asker.sendall(f"{head}\r\n\r\n{body}".encode())
            _until(lambda: bool(endpoint.requests))
            assert told("qwen3_rag_queue_length 5.0")  # as long as it takes

        _until(lambda: told('qwen3_rag_requests_total{path="/v1/ask",status="499"} 1.0'))
        assert told("qwen3_rag_queue_length 0.0")
        assert _ask(server).status_code == 200


def test_a_stream_that_the_server_stops_ends_with_an_event_that_says_so(
    searcher: HybridSearcher,
) -> None:
    with ChatEndpoint(failures=[Failure()]) as endpoint:
        chat = Chat(endpoint.url, "writer")
        served = Served(searcher.embedder, None, {"facts": searcher}, chat)
        server = RunningServer(served, port=0, stop_within=1).__enter__()
        with httpx.stream(
            "POST", f"{server.url}/v1/ask", json={"question": QUERY, "stream": True}, timeout=60
        ) as asked:
            server.__exit__()
            asked.read()

    (_, hits), (name, error) = _events(asked)
    assert hits["hits"]
    assert (name, error["error"]["code"]) == ("error", 503)
    assert "stopping" in error["message"]


def test_questions_beyond_the_queue_are_refused_while_others_are_answered(
    started: Callable[..., RunningServer],
) -> None:
    with ChatEndpoint(failures=[Failure()]) as endpoint:
        server = started(endpoint, max_queue=9)
        with httpx.stream(
            "POST",
            f"{server.url}/v1/ask",
            json={"question": QUERY, "stream": True},
            timeout=60,
        ) as held:
            assert held.status_code == 200
            assert _ask(server).status_code == 429
            assert _ask(server, limit=4).status_code == 200
