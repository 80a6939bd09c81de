"""Requests to one server: retried, limited, and with errors that say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import httpx

from qwen3_rag._key import Key, read_key
from qwen3_rag._waits import MAX_WAIT, asked_wait, may_repeat, wait_before
from qwen3_rag.backends._remote.spec import Remote
from qwen3_rag.errors import BackendError

__all__ = ["BrokenAnswer", "Http", "Refused"]

T = TypeVar("T")

SHOWN = 300  # characters of a server's message


class Refused(BackendError):
    """The server refused a request for good.

    Attributes:
        status: The HTTP status.
    """

    status = 0


class BrokenAnswer(Exception):
    """An answer is incomplete or wrong, as after an interrupted connection."""


class Failure(Exception):
    """A failure that may pass.

    Attributes:
        asked: Seconds that the server asks to wait; `None` if it does not say.
    """

    def __init__(self, what: str, asked: float | None = None) -> None:
        super().__init__(what)
        self.asked = asked


class Http:
    """A client of one server. Belongs to the event loop that it is used on."""

    def __init__(self, spec: Remote) -> None:
        """Store the settings; no connection is made."""
        self._spec = spec
        self._client = httpx.AsyncClient(
            headers=dict(spec.headers),
            timeout=spec.timeout,
            http2=find_spec("h2") is not None,
            limits=httpx.Limits(max_connections=spec.concurrency),
            follow_redirects=False,
        )
        self._turns = asyncio.Semaphore(spec.concurrency)

    @property
    def address(self) -> str:
        """The server's address, for messages."""
        return self._spec.base_url

    async def get(self, path: str, *, must: bool = False) -> Any:
        """Read JSON, in one attempt; `None` if there is no usable answer.

        Raises:
            BackendError: There is none, with `must`.
        """
        try:
            return await self._send("GET", path, None, lambda answer: answer)
        except BackendError:
            if must:
                raise
            return None

    async def post(self, path: str, body: Any, read: Callable[[Any], T]) -> T:
        """Send JSON and read the answer.

        Args:
            path: The path behind the server's address.
            body: What to send.
            read: Reads the answer's JSON. A `BrokenAnswer` or a missing field makes the request be
                sent again.

        Raises:
            Refused: The server refuses the request.
            BackendError: It cannot be reached, or gives no usable answer.
        """
        return await self._send("POST", path, body, read)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, body: Any, read: Callable[[Any], T]) -> T:
        tries = 1 + (self._spec.max_retries if method == "POST" else 0)
        async with self._turns:
            for turn in range(tries):
                try:
                    return await self._try(method, path, body, read)
                except Failure as failure:
                    if turn + 1 == tries or (failure.asked or 0) > MAX_WAIT:
                        raise BackendError(
                            f"{self.address}{path} could not be used in {turn + 1} attempts; the "
                            f"last gave: {failure}. Check that the server runs and is not "
                            "overloaded, or raise `timeout` or `max_retries`."
                        ) from failure
                    await asyncio.sleep(wait_before(turn + 1, failure.asked))
        raise AssertionError  # the last turn returns or raises

    async def _try(self, method: str, path: str, body: Any, read: Callable[[Any], T]) -> T:
        key = read_key(self._spec.api_key, self._spec.api_key_env)
        sent = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
        url = f"{self._spec.base_url}{path}"
        try:
            answer = await self._client.request(method, url, json=body, headers=sent)
        except httpx.TimeoutException as error:
            raise Failure(f"no answer within {self._spec.timeout:g} seconds") from error
        except httpx.HTTPError as error:
            raise Failure(_hidden(str(error) or type(error).__name__, key)) from error
        if answer.is_success:
            try:
                return read(answer.json())
            except (BrokenAnswer, ValueError, KeyError, TypeError, IndexError) as error:
                what = f"{type(error).__name__}: {error}"
                raise Failure(f"an answer that cannot be read ({what})") from error
        if may_repeat(answer.status_code):
            said = f"status {answer.status_code}: {_message(answer, key)}"
            raise Failure(said, asked_wait(answer.headers))
        raise self._refused(path, answer, key)

    def _refused(self, path: str, answer: httpx.Response, key: Key | None) -> Refused:
        status = answer.status_code
        if status in (401, 403):
            known = "the key" if key is not None else "a request without a key"
            text = (
                f"{self.address} refuses {known} (status {status}: {_message(answer, key)}). Give "
                "`api_key` or `api_key_env`; a key given as a value is not kept in pickles and "
                "files."
            )
        else:
            text = f"{self.address}{path} answers with status {status}: {_message(answer, key)}"
        error = Refused(text)
        error.status = status
        return error


def _message(answer: httpx.Response, key: Key | None) -> str:
    """The server's own words, wherever it puts them."""
    try:
        found: Any = answer.json()
    except ValueError:
        found = answer.text
    code = ""
    for _ in range(3):
        if isinstance(found, dict):
            if isinstance(found.get("code"), (str, int)) and found["code"] != answer.status_code:
                code = f"{found['code']}: "
            names = ("error", "message", "detail", "msg")
            found = next((found[name] for name in names if name in found), str(found))
    return _hidden(f"{code}{' '.join(str(found).split())}", key)[:SHOWN] or "no message"


def _hidden(text: str, key: Key | None) -> str:
    return text if key is None else key.hide_in(text)
