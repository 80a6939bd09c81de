"""A local OpenAI-compatible chat endpoint, for testing whole RAG pipelines offline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any

__all__ = ["ChatEndpoint", "Failure", "Message"]

Message = dict[str, Any]

_TYPES = {401: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_exceeded"}


@dataclass(frozen=True)
class Failure:
    """What goes wrong with one request.

    Attributes:
        status: The HTTP status of an error; `None` if the endpoint sends nothing, or no more.
        message: The error's message.
        headers: Further headers, such as `{"Retry-After": "2"}`.
        after: For streamed replies: how many parts are sent before the error, which is then an
            event of the stream, or before the connection breaks.
    """

    status: int | None = None
    message: str = "The server had an error while processing your request."
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None


class ChatEndpoint:
    """A context manager that serves chat completions on a free loopback port.

    It answers as OpenAI's API does: whole or streamed, over HTTP 1.1.

    Example:
        ```python
        with ChatEndpoint() as endpoint:
            ask(base_url=endpoint.url)
        assert "the right passage" in endpoint.requests[0]["messages"][-1]["content"]
        ```

    Attributes:
        url: The base URL, ending in `/v1`.
        requests: The JSON bodies received so far, in order.
    """

    def __init__(
        self,
        answer: Callable[[list[Message]], str] | None = None,
        *,
        failures: Iterable[Failure] = (),
        api_key: str | None = None,
        finish_reason: str = "stop",
    ) -> None:
        """Bind the port.

        Args:
            answer: Makes the reply to a list of messages. The default repeats the content of the
                last message, so that a test sees what the model would read.
            failures: What goes wrong with the first requests, one for each.
            api_key: The key without which requests are refused.
            finish_reason: Why replies end; `"length"` if they are cut.
        """
        self.requests: list[dict[str, Any]] = []
        self._answer = answer or last_content
        self._failures = list(failures)
        self._api_key = api_key
        self._finish_reason = finish_reason
        self._lock = Lock()
        self._closing = Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.close_connection = True
                with suppress(ConnectionError):  # of a client that reads no further
                    endpoint._handle(self)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> ChatEndpoint:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        request = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self.requests.append(request)
            failure = self._failures.pop(0) if self._failures else None
        if handler.path != "/v1/chat/completions":
            failure = Failure(404, "Only /v1/chat/completions is available here.")
        elif self._api_key and handler.headers["Authorization"] != f"Bearer {self._api_key}":
            failure = Failure(401, "Incorrect API key provided.")
        if failure is None or (request.get("stream") and failure.after is not None):
            self._reply(handler, request, failure)
        elif failure.status is not None:
            _send(handler, failure.status, _error(failure), failure.headers)
        elif failure.after is None:
            self._closing.wait()

    def _reply(
        self, handler: BaseHTTPRequestHandler, request: dict[str, Any], failure: Failure | None
    ) -> None:
        text = self._answer(request["messages"])
        frame = {"id": "chatcmpl-1", "created": 0, "model": request.get("model", "any")}
        if not request.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
            usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
            body = {**frame, "object": "chat.completion", "choices": [choice], "usage": usage}
            _send(handler, 200, body)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for event in _events(frame, text, self._finish_reason, failure):
            data = f"data: {event}\n\n".encode()
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if failure is None or failure.status is not None:
            handler.wfile.write(b"0\r\n\r\n")


def last_content(messages: list[Message]) -> str:
    """Return the text of the last message, whose content is a string or a list of parts."""
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _events(
    frame: dict[str, Any], text: str, finish_reason: str, failure: Failure | None
) -> Iterator[str]:
    """Yield the events of a streamed reply, one per word, as far as a failure lets them."""

    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        body = {**frame, "object": "chat.completion.chunk", "choices": [choice]}
        return json.dumps(body, ensure_ascii=False)

    yield chunk({"role": "assistant", "content": ""})
    parts = re.findall(r"\s*\S+|\s+$", text)
    for part in parts if failure is None else parts[: failure.after]:
        yield chunk({"content": part})
    if failure is None:
        yield chunk({}, finish_reason)
        yield "[DONE]"
    elif failure.status is not None:
        yield json.dumps(_error(failure))


def _error(failure: Failure) -> dict[str, Any]:
    kind = _TYPES.get(failure.status or 500, "server_error")
    error = {"message": failure.message, "type": kind, "param": None, "code": failure.status}
    return {"error": error}


def _send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: dict[str, Any],
    headers: Mapping[str, str] | None = None,
) -> None:
    data = json.dumps(body).encode()
    handler.send_response(status)
    length = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    for name, value in {**length, "Connection": "close", **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)
