"""`Chat`, a client for OpenAI-compatible chat endpoints; the only module that imports httpx."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from ssl import SSLContext
from typing import Any, TypeAlias, TypeVar

from qwen3_rag._address import LOCAL, no_client, not_sent, read_address, without_secrets
from qwen3_rag._flow import Call, Flow, run, run_async
from qwen3_rag._inputs import check_count
from qwen3_rag._key import Key, check_key, read_key
from qwen3_rag._waits import MAX_WAIT, asked_wait, may_repeat, wait_before
from qwen3_rag.chat._reply import (
    Completion,
    StreamReader,
    check_length,
    error_text,
    read_completion,
)
from qwen3_rag.errors import BackendError, InputError, InputTypeError, MissingExtraError

try:
    import httpx
except ImportError as error:
    raise MissingExtraError(
        "qwen3_rag.chat needs the package 'httpx'. Install it with: pip install \"qwen3-rag[chat]\""
    ) from error

__all__ = ["Chat", "CompletionStream", "Message"]

#: A message as OpenAI's API has it, such as `{"role": "user", "content": "..."}`.
Message: TypeAlias = Mapping[str, Any]

C = TypeVar("C", httpx.Client, httpx.AsyncClient)

_OWN_FIELDS = {"messages", "model", "n", "stream"}
_CONNECT_SECONDS = 10.0

_ADVICE = {
    401: "Check the key that `api_key` or `api_key_env` gives.",
    403: "Check what the key of `api_key` or `api_key_env` may do.",
    404: "Check `base_url`, which usually ends in /v1, and `model`.",
    429: "Send fewer requests at once, or check the account's quota.",
}


@dataclass(frozen=True)
class Chat:
    """A chat model behind an OpenAI-compatible endpoint.

    It holds settings alone, so it can be used by any number of threads and event loops, and needs
    no closing. Requests are repeated after statuses 408, 429 and 5xx, timeouts and lost
    connections, with growing waits of random length, and not before `Retry-After`.

    Attributes:
        base_url: The endpoint's address without `/chat/completions`, such as
            `http://localhost:8000/v1`.
        model: The name under which the endpoint knows the model.
        api_key: The key, as a string or an object that keeps one secret (pydantic's `SecretStr`,
            Haystack's `Secret`) and is asked with each request. Pickles leave it out.
        api_key_env: Name of an environment variable that holds the key, instead of `api_key`. It
            is read with each request.
        timeout: Seconds to wait for the endpoint to send something. A reply that is not streamed
            comes as a whole, when the model has finished it.
        retries: How often a request is repeated.
        options: Further fields of the request, such as `{"temperature": 0, "max_tokens": 500}`.

    Raises:
        InputError: The address or a number is invalid, or two keys are given.
        InputTypeError: An argument has the wrong type.
    """

    base_url: str
    model: str
    api_key: Any = field(default=None, repr=False, kw_only=True)
    api_key_env: str | None = field(default=None, kw_only=True)
    timeout: float = field(default=120, kw_only=True)
    retries: int = field(default=2, kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise InputTypeError(
                f"`model` must be the name of a model on the endpoint, got {self.model!r}."
            )
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float):
            raise InputTypeError(f"`timeout` must be a number of seconds, got {self.timeout!r}.")
        if not 0 < self.timeout < float("inf"):
            raise InputError(f"`timeout` must be above 0 seconds, got {self.timeout}.")
        check_count(self.retries, "retries", 0, required=True)
        if not isinstance(self.options, Mapping):
            raise InputTypeError(
                "`options` must be a dictionary of further fields, got "
                f"{type(self.options).__name__}."
            )
        if taken := sorted(_OWN_FIELDS.intersection(self.options)):
            raise InputError(
                f"`options` must not have {', '.join(map(repr, taken))}, which this client sets."
            )
        object.__setattr__(self, "base_url", _check_address(self.base_url))
        object.__setattr__(self, "options", copy.deepcopy(dict(self.options)))
        object.__setattr__(self, "api_key", check_key(self.api_key, self.api_key_env))

    def complete(self, messages: Sequence[Message]) -> Completion:
        """Send messages and wait for the whole reply.

        Args:
            messages: The conversation, oldest first.

        Raises:
            InputError: The messages are empty, or there is no key where one was named.
            BackendError: The endpoint cannot be reached, refuses, or sends no text.
        """
        key = self._key()
        with _errors(key), self._open(httpx.Client) as client:
            _, body = run(self._send(client, key, messages))
            return read_completion(body)

    async def acomplete(self, messages: Sequence[Message]) -> Completion:
        """Send messages without blocking the event loop; see `complete`."""
        key = self._key()
        with _errors(key):
            async with await asyncio.to_thread(self._open, httpx.AsyncClient) as client:
                _, body = await run_async(self._send(client, key, messages))
                return read_completion(body)

    def stream(self, messages: Sequence[Message]) -> CompletionStream:
        """Send messages and read the reply as it is written.

        Args:
            messages: The conversation, oldest first.

        Returns:
            An iterable of the text's parts, for `for` and for `async for`. Iterating sends the
            request, and raises what `complete` raises; a request is repeated until the reply
            begins.
        """
        return CompletionStream(self, messages)

    def _open(self, kind: Callable[..., C]) -> C:
        """Make a client of httpx, which takes a millisecond, and the first time 100.

        There is one per request, as an async client belongs to the loop that used it, and a
        connection takes little time beside a reply.
        """
        timeout = httpx.Timeout(self.timeout, connect=min(self.timeout, _CONNECT_SECONDS))
        direct = {f"all://{host}": None for host in LOCAL}
        try:
            return kind(verify=_tls(), timeout=timeout, mounts=direct)
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise no_client(self.base_url, error) from None

    def _send(
        self,
        client: httpx.Client | httpx.AsyncClient,
        key: Key | None,
        messages: Sequence[Message],
        *,
        stream: bool = False,
    ) -> Flow[tuple[httpx.Response, bytes]]:
        """Send a request until it succeeds; the response is read unless it is streamed."""
        body = _to_json(
            {
                **self.options,
                "model": self.model,
                "messages": _check_messages(messages),
                "stream": stream,
            }
        )
        # httpx's own class of headers does not show the key.
        headers = httpx.Headers({"Content-Type": "application/json"})
        if key is not None:
            headers["Authorization"] = f"Bearer {key.reveal()}"
        for repeat in range(1, self.retries + 2):
            request = client.build_request("POST", self._address, content=body, headers=headers)
            send: Any = partial(client.send, request, stream=True)  # awaitable if the client is
            asked = None
            try:
                response: httpx.Response = yield Call(send, send)
                received = b""
                if not (stream and response.is_success):
                    received = yield Call(partial(_read, response), partial(_aread, response))
                if response.is_success:
                    return response, received
                asked = asked_wait(response.headers)
                problem = self._refusal(response, received, asked)
                repeatable = may_repeat(response.status_code)
            except httpx.TransportError as error:
                problem = self._unreachable(error)
                repeatable = True
            except (ExceptionGroup, OverflowError) as error:
                raise not_sent(self._address, error) from None
            if not repeatable or repeat > self.retries or (asked or 0) > MAX_WAIT:
                break
            wait = wait_before(repeat, asked)
            yield Call(partial(time.sleep, wait), partial(asyncio.sleep, wait))
        raise problem

    def _key(self) -> Key | None:
        return read_key(self.api_key, self.api_key_env)

    @property
    def _address(self) -> str:
        return f"{self.base_url}/chat/completions"

    def _refusal(
        self, response: httpx.Response, received: bytes, asked: float | None
    ) -> BackendError:
        said = error_text(received) or response.reason_phrase
        if response.is_redirect:  # not followed, as the key is for this address alone
            there = without_secrets(response.headers.get("Location", ""))
            said = f"it has moved to {there!r}"
        sentences = [
            f"{self._address} answered with status {response.status_code}: {said.rstrip('.')}.",
            "" if asked is None else f"It asks to wait {asked:.0f} seconds.",
            _ADVICE.get(response.status_code, ""),
        ]
        return BackendError(" ".join(filter(None, sentences)))

    def _unreachable(self, error: httpx.TransportError) -> BackendError:
        if isinstance(error, httpx.ReadTimeout):
            return BackendError(
                f"{self._address} sent nothing for {self.timeout:g} seconds. Raise `timeout`, or "
                "stream the reply, which then arrives in parts."
            )
        reason = str(error).rstrip(".") or type(error).__name__
        return BackendError(
            f"{self._address} cannot be reached, or broke the connection: {reason}. Check "
            "`base_url` and that the server is running."
        )


class CompletionStream:
    """A reply's text in parts; iterate over it with `for` or `async for`.

    Each iteration sends the request anew.
    """

    def __init__(self, chat: Chat, messages: Sequence[Message]) -> None:
        """Keep what to send."""
        self._chat = chat
        self._messages = messages
        self._completion: Completion | None = None

    @property
    def completion(self) -> Completion:
        """The whole reply, once all parts have been read.

        Raises:
            InputError: They have not.
        """
        if self._completion is None:
            raise InputError("The reply is not complete. Iterate over the stream to its end first.")
        return self._completion

    def __iter__(self) -> Iterator[str]:
        chat, reader, shown = self._chat, StreamReader(), 0
        key = chat._key()
        with _errors(key), chat._open(httpx.Client) as client:
            response, _ = run(chat._send(client, key, self._messages, stream=True))
            for data in response.iter_bytes():
                for part in reader.feed(data):
                    shown += len(part)
                    yield part
                if reader.done:
                    break
            self._completion = reader.finish()
        if rest := self._completion.text[shown:]:
            yield rest

    async def __aiter__(self) -> AsyncIterator[str]:
        chat, reader, shown = self._chat, StreamReader(), 0
        key = chat._key()
        with _errors(key):
            async with await asyncio.to_thread(chat._open, httpx.AsyncClient) as client:
                response, _ = await run_async(chat._send(client, key, self._messages, stream=True))
                async for data in response.aiter_bytes():
                    for part in reader.feed(data):
                        shown += len(part)
                        yield part
                    if reader.done:
                        break
                self._completion = reader.finish()
        if rest := self._completion.text[shown:]:
            yield rest


def _read(response: httpx.Response) -> bytes:
    """Read a reply to its end, which some have not."""
    received = bytearray()
    for data in response.iter_bytes():
        _add(received, data)
    return bytes(received)


async def _aread(response: httpx.Response) -> bytes:
    received = bytearray()
    async for data in response.aiter_bytes():
        _add(received, data)
    return bytes(received)


def _add(received: bytearray, data: bytes) -> None:
    received += data
    check_length(len(received))


@cache
def _tls() -> SSLContext:
    """Return the settings of TLS, which take long to make."""
    return httpx.create_ssl_context()


@contextmanager
def _errors(key: Key | None) -> Iterator[None]:
    """Turn httpx's errors into ours, and hide the key, which a server's message may repeat."""
    try:
        yield
    except httpx.RequestError as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise BackendError(
            f"The connection broke while the endpoint answered: {reason}. Ask again."
        ) from None
    except BackendError as error:
        if key is not None:
            error.args = (key.hide_in(str(error)),)
        raise


def _check_address(address: str) -> str:
    parts = read_address(address)
    try:
        _ = httpx.URL(parts.geturl()).host  # which decodes it
    except (httpx.InvalidURL, UnicodeError) as error:  # a host's name that has no ASCII form
        raise InputError(f"`base_url` cannot be used: {error}.") from None
    return parts.geturl().rstrip("/")


def _check_messages(messages: Sequence[Message]) -> list[Message]:
    wrong = isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable)
    items = [] if wrong else list(messages)
    if wrong or not all(isinstance(item, Mapping) for item in items):
        raise InputTypeError(
            "`messages` must be a list of dictionaries, such as "
            '[{"role": "user", "content": "..."}].'
        )
    if not items:
        raise InputError("`messages` is empty. Give at least one message.")
    return [dict(item) for item in items]


def _to_json(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:  # an object, NaN or a lone surrogate
        raise InputError(f"`messages` or `options` cannot be sent as JSON: {error}.") from None
