"""A local OpenAI-compatible chat endpoint, for testing whole RAG pipelines offline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any

__all__ = ["ChatEndpoint"]

Message = dict[str, Any]


class ChatEndpoint:
    """A context manager that serves chat completions on a free loopback port.

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

    def __init__(self, answer: Callable[[list[Message]], str] | None = None) -> None:
        """Bind the port.

        Args:
            answer: Makes the reply to a list of messages. The default repeats the content of the
                last message, so that a test sees what the model would read.
        """
        self.requests: list[dict[str, Any]] = []
        reply = answer or last_content
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                requests.append(request)
                if self.path != "/v1/chat/completions":
                    self.send_error(404, "Only /v1/chat/completions is available here.")
                    return
                streamed = bool(request.get("stream"))
                self.send_response(200)
                kind = "text/event-stream" if streamed else "application/json"
                self.send_header("Content-Type", kind)
                self.end_headers()
                for part in _reply(request, reply(request["messages"]), streamed):
                    self.wfile.write(part)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> ChatEndpoint:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def last_content(messages: list[Message]) -> str:
    """Return the text of the last message, whose content is a string or a list of parts."""
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _reply(request: dict[str, Any], text: str, streamed: bool) -> Iterator[bytes]:
    """Yield the body of a reply: one JSON object, or one event per line of text."""
    frame = {"id": "chat-1", "created": 0, "model": request.get("model", "any")}
    if not streamed:
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {**frame, "object": "chat.completion", "choices": [choice], "usage": usage}
        yield json.dumps(body).encode()
        return
    for line in text.splitlines(keepends=True):
        choice = {"index": 0, "delta": {"role": "assistant", "content": line}}
        yield _event({**frame, "object": "chat.completion.chunk", "choices": [choice]})
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield _event({**frame, "object": "chat.completion.chunk", "choices": [choice]})
    yield b"data: [DONE]\n\n"


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"
