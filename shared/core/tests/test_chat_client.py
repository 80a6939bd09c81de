"""`Chat` over real HTTP: replies, streams, repeated requests, and errors."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread, current_thread
from types import MappingProxyType
from typing import Any

import pytest

from qwen3_rag import BackendError, InputError, InputTypeError
from qwen3_rag.chat import Chat, Completion
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint, Failure

QUESTION = [{"role": "user", "content": "How high is\nMont Blanc?"}]

Ask = Callable[[Chat], Completion]


@contextmanager
def raw_endpoint(
    body: bytes, kind: str = "application/json", status: int = 200, *, stays_open: bool = False
) -> Iterator[str]:
    """Serve these bytes to every request, and close the connection, perhaps only at the end."""
    closing = Event()
    if not stays_open:
        closing.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)
            closing.wait()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as url:
        try:
            yield url
        finally:
            closing.set()


@contextmanager
def in_pieces(body: bytes, size: int) -> Iterator[str]:
    """Stream these bytes in chunks of HTTP of this size."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            for start in range(0, len(body), size):
                piece = body[start : start + size]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def streamed(body: str, *, stays_open: bool = False) -> AbstractContextManager[str]:
    return raw_endpoint(body.encode(), "text/event-stream", stays_open=stays_open)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the client waited, which pass at once."""
    waited: list[float] = []
    own, sleep, async_sleep = current_thread(), time.sleep, asyncio.sleep

    # Other tests' servers may run in other threads.
    def wait(seconds: float) -> None:
        if current_thread() is own:
            waited.append(seconds)
        else:
            sleep(seconds)

    async def async_wait(seconds: float) -> None:
        if current_thread() is own:
            waited.append(seconds)
        else:
            await async_sleep(seconds)

    monkeypatch.setattr("qwen3_rag.chat._client.time.sleep", wait)
    monkeypatch.setattr("qwen3_rag.chat._client.asyncio.sleep", async_wait)
    return waited


def test_reply_comes_back_as_the_model_gave_it(ask: Ask) -> None:
    with ChatEndpoint() as endpoint:
        reply = ask(Chat(endpoint.url, "small", options={"temperature": 0}))

    assert reply == Completion("How high is\nMont Blanc?", cut=False)
    [request] = endpoint.requests
    assert request["messages"] == QUESTION
    assert (request["model"], request["temperature"]) == ("small", 0)


def test_messages_may_be_any_mappings() -> None:
    with ChatEndpoint() as endpoint:
        Chat(endpoint.url, "small").complete((MappingProxyType(QUESTION[0]),))

    assert endpoint.requests[0]["messages"] == QUESTION


def test_reply_that_reached_the_limit_says_so(ask: Ask) -> None:
    with ChatEndpoint(finish_reason="length") as endpoint:
        assert ask(Chat(endpoint.url, "small")).cut


def test_thoughts_at_the_beginning_are_left_out(ask: Ask) -> None:
    reply = "\n<think>\nIs it [2]? <b>\n</think>\n\n4,806 m, not <think>.  "
    with ChatEndpoint(lambda messages: reply) as endpoint:
        assert ask(Chat(endpoint.url, "small")).text == "4,806 m, not <think>.  "


@pytest.mark.parametrize("reply", ["<", " <thin", "<thinking> is a tag", "  two spaces"])
def test_what_only_looks_like_thoughts_is_kept(ask: Ask, reply: str) -> None:
    with ChatEndpoint(lambda messages: reply) as endpoint:
        assert ask(Chat(endpoint.url, "small")).text == reply


@pytest.mark.parametrize("reply", ["", " \n", "<think>without end"])
def test_reply_without_text_is_an_error(ask: Ask, reply: str) -> None:
    empty = pytest.raises(BackendError, match=r"no text .*'length'.*raise `max_tokens`")
    with ChatEndpoint(lambda messages: reply, finish_reason="length") as endpoint, empty:
        ask(Chat(endpoint.url, "small"))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_busy_and_failing_endpoints_are_asked_again(
    ask: Ask, status: int, waits: list[float]
) -> None:
    with ChatEndpoint(failures=[Failure(status), Failure(status)]) as endpoint:
        ask(Chat(endpoint.url, "small"))

    assert len(endpoint.requests) == 3
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1


def test_requests_are_not_repeated_for_ever(ask: Ask, waits: list[float]) -> None:
    loading = pytest.raises(BackendError, match=r"status 503: Still loading\.$")
    with ChatEndpoint(failures=[Failure(503, "Still loading.")] * 9) as endpoint, loading:
        ask(Chat(endpoint.url, "small", retries=3))

    assert len(endpoint.requests) == 4
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "$"), (401, " .*api_key_env"), (404, " .*/v1"), (422, "$"), (501, "$")],
)
def test_requests_that_can_never_succeed_are_sent_once(ask: Ask, status: int, said: str) -> None:
    refused = pytest.raises(BackendError, match=rf"status {status}: too long\.{said}")
    with ChatEndpoint(failures=[Failure(status, "too long")]) as endpoint, refused:
        ask(Chat(endpoint.url, "small"))

    assert len(endpoint.requests) == 1


def test_retry_after_is_the_least_to_wait(ask: Ask, waits: list[float]) -> None:
    failures = [Failure(429, headers={"Retry-After": after}) for after in ("7", "1.5")]
    with ChatEndpoint(failures=failures) as endpoint:
        ask(Chat(endpoint.url, "small"))

    assert 7 < waits[0] < 8
    assert 1.5 < waits[1] < 2.5


@pytest.mark.parametrize(("seconds", "least", "most"), [(40, 20, 42), (-40, 0, 0.5)])
def test_retry_after_may_be_a_date(
    seconds: int, least: float, most: float, waits: list[float]
) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))
    with ChatEndpoint(failures=[Failure(503, headers={"Retry-After": date})]) as endpoint:
        Chat(endpoint.url, "small").complete(QUESTION)

    assert least < waits[0] < most


@pytest.mark.parametrize("after", ["soon", "-5", "Thu, 99 Nov 2026 99:00:00 GMT", "", "٧"])
def test_retry_after_that_says_nothing_is_ignored(after: str, waits: list[float]) -> None:
    header = {"Retry-After": after.encode().decode("latin-1")}
    with ChatEndpoint(failures=[Failure(503, headers=header)]) as endpoint:
        Chat(endpoint.url, "small").complete(QUESTION)

    assert waits[0] <= 0.5


def test_waits_of_clients_differ(waits: list[float]) -> None:
    with ChatEndpoint(failures=[Failure(503)] * 6) as endpoint:
        Chat(endpoint.url, "small", retries=6).complete(QUESTION)

    growing = (0.5, 1, 2, 4, 8, 8)
    shares = [wait / longest for wait, longest in zip(waits, growing, strict=True)]
    assert all(0.5 <= share <= 1 for share in shares)
    assert len(set(shares)) == 6


def test_an_endpoint_that_asks_for_an_hour_is_not_waited_for(waits: list[float]) -> None:
    limit = Failure(429, "Quota.", {"Retry-After": "3600"})
    refused = pytest.raises(BackendError, match=r"429: Quota\. It asks to wait 3600 seconds\. Send")
    with ChatEndpoint(failures=[limit]) as endpoint, refused:
        Chat(endpoint.url, "small").complete(QUESTION)

    assert waits == []


def test_silence_ends_with_the_timeout(ask: Ask, waits: list[float]) -> None:
    with ChatEndpoint(failures=[Failure()]) as endpoint:
        assert ask(Chat(endpoint.url, "small", timeout=0.3)).text  # asked again
        assert len(endpoint.requests) == 2
    silent = pytest.raises(BackendError, match=r"nothing for 0\.3 seconds\. Raise `timeout`")
    with ChatEndpoint(failures=[Failure()]) as endpoint, silent:
        ask(Chat(endpoint.url, "small", timeout=0.3, retries=0))


def test_an_endpoint_that_is_not_there_is_named(ask: Ask, waits: list[float]) -> None:
    with ChatEndpoint() as endpoint:
        pass
    with pytest.raises(BackendError, match=re.escape(endpoint.url)) as raised:
        ask(Chat(endpoint.url, "small"))

    assert "the server is running" in str(raised.value)
    assert len(waits) == 2


@pytest.mark.parametrize("ask", ["stream", "astream"], indirect=True)
def test_a_stream_that_breaks_is_an_error_and_not_a_short_reply(
    ask: Ask,
) -> None:
    failures = [Failure(after=2), Failure(500, "Out of memory.", after=2)]
    with ChatEndpoint(failures=failures) as endpoint:
        chat = Chat(endpoint.url, "small")
        with pytest.raises(BackendError, match="connection broke while the endpoint answered"):
            ask(chat)
        with pytest.raises(BackendError, match=r"failed while it answered: Out of memory\."):
            ask(chat)

    assert len(endpoint.requests) == 2  # parts were read, so nothing is asked again


def test_a_stream_that_ends_without_its_last_event_is_an_error() -> None:
    part = 'data: {"choices": [{"index": 0, "delta": {"content": "Half of"}}]}\n\n'
    with streamed(part) as url, pytest.raises(BackendError, match="ended before the reply"):
        list(Chat(url, "small").stream(QUESTION))


def test_parts_arrive_while_the_reply_is_written() -> None:
    with ChatEndpoint(lambda messages: "one two three") as endpoint:
        parts = Chat(endpoint.url, "small").stream(QUESTION)

        async def read() -> list[str]:
            return [part async for part in parts]

        assert list(parts) == asyncio.run(read()) == ["one", " two", " three"]


@pytest.mark.parametrize("ask", ["stream", "astream"], indirect=True)
def test_a_stream_ends_with_its_last_event_even_if_the_connection_stays_open(ask: Ask) -> None:
    events = 'data: {"choices": [{"delta": {"content": "All"}}]}\n\ndata: [DONE]\n\n'
    with streamed(events, stays_open=True) as url:
        assert ask(Chat(url, "small", timeout=10)).text == "All"


def test_a_stream_can_be_left_before_its_end() -> None:
    with ChatEndpoint(lambda messages: "one two three") as endpoint:
        parts = Chat(endpoint.url, "small").stream(QUESTION)
        assert next(iter(parts)) == "one"

        with pytest.raises(InputError, match="not complete"):
            _ = parts.completion


def test_events_of_other_servers_are_read() -> None:
    events = (
        ': a comment\r\n\r\nevent: message\r\nid: 7\r\ndata:{"choices":[]}\r\n\r\n'
        'data: {"choices": [{"delta": null}]}\n\n'
        'data: {"choices": [{"delta": {"content": null}}]}\n\n'
        'data: {"choices": [{"delta": {"content": "line\u2028and\u0085"}}]}\n\n'
        'data: {"choices": [{"delta": {"content": "é"}, "finish_reason": "length"}]}\n\n'
        'data: {"choices": [], "usage": {"total_tokens": 9}}\n\n'
    )
    with streamed(events) as url:
        parts = Chat(url, "small").stream(QUESTION)
        assert list(parts) == ["line\u2028and\u0085", "é"]

    assert parts.completion == Completion("line\u2028and\u0085é", cut=True)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome</html>",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": "text"}]}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_completion_is_an_error(body: bytes) -> None:
    with raw_endpoint(body) as url, pytest.raises(BackendError, match=r"no chat completion: .*/v1"):
        Chat(url, "small").complete(QUESTION)


def test_errors_with_status_200_are_errors() -> None:
    failed = pytest.raises(BackendError, match=r"failed while it answered: No GPU\.")
    with raw_endpoint(b'{"error": {"message": "No GPU."}}') as url, failed:
        Chat(url, "small").complete(QUESTION)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_events_may_be_divided_anywhere(size: int) -> None:
    events = (
        'data: {"choices": [{"delta": {"content": "é"}}]}\n'
        'data: {"choices": [{"delta": {"content": "😀\u2028"}}]}\r\n\r\n'
        "data: [DONE]\n\n"
    )
    with in_pieces(events.encode(), size) as url:
        assert list(Chat(url, "small").stream(QUESTION)) == ["é", "😀\u2028"]


@pytest.mark.parametrize("content", ["null", '[{"type": "text", "text": "x"}]', "5"])
def test_content_that_is_no_text_is_an_error(content: str) -> None:
    body = f'{{"choices": [{{"message": {{"content": {content}}}, "finish_reason": "stop"}}]}}'
    no_text = pytest.raises(BackendError, match=r"no text .*'stop'")
    with raw_endpoint(body.encode()) as url, no_text:
        Chat(url, "small").complete(QUESTION)


@pytest.mark.parametrize("data", ["[]", "no JSON", '{"choices": 5}', '{"choices": [5]}'])
def test_what_is_no_event_of_a_completion_is_an_error(data: str) -> None:
    with streamed(f"data: {data}\n\n") as url, pytest.raises(BackendError, match="no part of a"):
        list(Chat(url, "small").stream(QUESTION))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "model not loaded"}', "400: model not loaded."),
        (b'{"error": {"message": "bad"}}', "400: bad."),
        (b'{"object": "error", "message": "bad"}', "400: bad."),
        (b'{"detail": "bad"}', "400: bad."),
        (b"plain \x1b[31mtext\n", "400: plain \ufffd[31mtext."),
        (b"x" * 10_000, "400: " + "x" * 300 + "."),
        (b"", "400: Bad Request."),
    ],
)
def test_errors_of_any_server_are_shown_in_one_short_line(body: bytes, said: str) -> None:
    with raw_endpoint(body, status=400) as url, pytest.raises(BackendError) as raised:
        Chat(url, "small").complete(QUESTION)

    assert str(raised.value).endswith(said)


def test_the_place_of_a_redirect_is_shown_without_its_password() -> None:
    moved = Failure(302, headers={"Location": "https://user:s3cret@host.example/v1?key=s3cret"})
    refused = pytest.raises(BackendError, match=r"moved to 'https://host\.example/v1'")
    with ChatEndpoint(failures=[moved]) as endpoint, refused as raised:
        Chat(endpoint.url, "small").complete(QUESTION)

    assert "s3cret" not in str(raised.value)


def test_redirects_are_not_followed() -> None:
    with ChatEndpoint() as other:
        moved = Failure(308, headers={"Location": f"{other.url}/chat/completions"})
        refused = pytest.raises(BackendError, match=f"308: it has moved to '{other.url}")
        with ChatEndpoint(failures=[moved]) as endpoint, refused:
            Chat(endpoint.url, "small", api_key="key").complete(QUESTION)

    assert other.requests == []


@pytest.mark.parametrize("messages", ["text", QUESTION[0], 5, ["text"]])
def test_messages_of_another_type_are_refused(messages: Any) -> None:
    with pytest.raises(InputTypeError, match="must be a list of dictionaries"):
        Chat("http://localhost/v1", "small").complete(messages)


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800"])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="cannot be sent as JSON"):
        Chat("http://localhost/v1", "small").complete([{"role": "user", "content": value}])


def test_no_messages_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        Chat("http://localhost/v1", "small").complete([])


def test_one_object_serves_many_loops_and_tasks() -> None:
    with ChatEndpoint() as endpoint:
        chat = Chat(endpoint.url, "small")

        async def ask() -> list[Completion]:
            return await asyncio.gather(*(chat.acomplete(QUESTION) for _ in range(20)))

        replies = asyncio.run(ask()) + asyncio.run(ask())

    assert len(endpoint.requests) == len(replies) == 40


def test_without_httpx_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "import qwen3_rag\n"
        "try:\n    import qwen3_rag.chat\n"
        "except qwen3_rag.MissingExtraError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert 'pip install "qwen3-rag[chat]"' in said.stdout, said.stderr
