"""`Chat` and endpoints that answer with anything, or are behind a proxy that is none."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

import pytest

from qwen3_rag import BackendError, Qwen3Embedder, Remote
from qwen3_rag.chat import Chat, Completion
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.http_server import LoopbackServer

QUESTION = [{"role": "user", "content": "How high is Mont Blanc?"}]
WAYS = ["whole", "awhole", "stream", "astream"]

Ask = Callable[[Chat], Completion]


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    async def read(chat: Chat) -> Completion:
        parts = chat.stream(QUESTION)
        async for _ in parts:
            pass
        return parts.completion

    def asked(chat: Chat) -> Completion:
        if request.param == "whole":
            return chat.complete(QUESTION)
        if request.param == "awhole":
            return asyncio.run(chat.acomplete(QUESTION))
        if request.param == "astream":
            return asyncio.run(read(chat))
        parts = chat.stream(QUESTION)
        list(parts)
        return parts.completion

    return asked


@contextmanager
def endpoint(pieces: Callable[[bool], Iterable[bytes]], status: int = 200) -> Iterator[Chat]:
    """Answer every request with these bytes, which may be other ones if a stream is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()
            with suppress(OSError):  # the client has heard enough
                for piece in pieces(asked["stream"]):
                    self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = LoopbackServer(0, Handler)
    try:
        yield Chat(f"http://127.0.0.1:{server.server_port}/v1", "small", retries=0)
    finally:
        server.stop()


def reply(content: str, stream: bool) -> list[bytes]:
    """A reply whose text is this JSON."""
    if stream:
        event = f'{{"choices": [{{"delta": {{"content": {content}}}}}]}}'
        return [f"data: {event}\n\ndata: [DONE]\n\n".encode()]
    return [f'{{"choices": [{{"message": {{"content": {content}}}}}]}}'.encode()]


@pytest.mark.parametrize("body", ["[" * 200_000, '{"error":' * 100_000, '{"choices":' * 100_000])
@pytest.mark.parametrize("status", [200, 400])
def test_json_that_is_nested_too_deeply_is_an_error_of_the_endpoint(
    ask: Ask, body: str, status: int
) -> None:
    def pieces(stream: bool) -> list[bytes]:
        return [b"data: " * stream + body.encode() + b"\n\n"]

    with endpoint(pieces, status) as chat, pytest.raises(BackendError, match=r"endpoint|400"):
        ask(chat)


@pytest.mark.parametrize("start", [b"", b"data: ", b"data: {}\n\ndata: "])
def test_a_reply_without_an_end_is_not_read_into_memory(ask: Ask, start: bytes) -> None:
    def pieces(stream: bool) -> Iterable[bytes]:
        return itertools.chain([start], itertools.repeat(b"x" * 1_000_000))

    with endpoint(pieces) as chat, pytest.raises(BackendError, match=r"more than \d+ MB"):
        ask(chat)
    with endpoint(pieces, 400) as chat, pytest.raises(BackendError, match=r"more than \d+ MB"):
        ask(chat)


def test_a_stream_of_events_without_an_end_is_not_gathered() -> None:
    [event, *_] = reply(f'"{"x" * 500_000}"', stream=True)[0].partition(b"data: [DONE]")

    def pieces(stream: bool) -> Iterable[bytes]:
        return itertools.repeat(event)

    with endpoint(pieces) as chat, pytest.raises(BackendError, match=r"more than 50 MB"):
        for _ in chat.stream([{"role": "user", "content": "a"}]):
            pass


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (r'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (r'"a\ud83db"', "a\ufffdb"),
        (r'"\ude00a"', "\ufffda"),
        (r'"a\ud83d"', "a\ufffd"),
        ('"\ufeffa\u2028"', "\ufeffa\u2028"),
    ],
)
def test_a_reply_has_no_half_characters(ask: Ask, content: str, text: str) -> None:
    with endpoint(lambda stream: reply(content, stream)) as chat:
        assert ask(chat).text == text


def test_a_character_may_be_divided_between_events() -> None:
    halves = [r'"a\ud83d"', r'"\ude00b"']
    events = b"".join(reply(half, True)[0].partition(b"data: [DONE]")[0] for half in halves)
    with endpoint(lambda stream: [events, b"data: [DONE]\n\n"]) as chat:
        parts = list(chat.stream(QUESTION))

    assert parts == ["a", "\N{GRINNING FACE}b"]


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'{"error": "no stream"}', b"Hello"])
def test_what_is_no_stream_is_shown(body: bytes) -> None:
    with (
        endpoint(lambda stream: [body]) as chat,
        pytest.raises(BackendError, match="no stream of events: ") as raised,
    ):
        list(chat.stream(QUESTION))

    assert body.decode() in str(raised.value)


def test_an_endpoint_on_this_machine_is_asked_without_the_proxy(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    with ChatEndpoint(lambda messages: "text") as server:
        assert ask(Chat(server.url, "small", retries=0)).text == "text"


@pytest.mark.parametrize("proxy", ["foo://u:pw4711@host", "http://u:pw4711"])
def test_a_proxy_that_is_none_is_told_without_its_password(
    ask: Ask, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    server = Remote("http://localhost:1", max_retries=0)
    with pytest.raises(BackendError, match="HTTP_PROXY") as raised:
        ask(Chat("http://localhost:1", "small", retries=0))
    with pytest.raises(BackendError, match="HTTP_PROXY") as also:
        Qwen3Embedder("tiny", backend=server).warm_up()

    assert "4711" not in str(raised.value) + str(also.value)
