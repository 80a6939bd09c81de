"""Requests to one server: retried, limited, and with errors that say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import httpx

from qwen3_rag._address import LOCAL, no_client, not_sent, without_secrets
from qwen3_rag._key import Key, read_key
from qwen3_rag._waits import MAX_WAIT, asked_wait, may_repeat, wait_before
from qwen3_rag.backends._remote.received import ACCEPTED, Received, TooLong, receive
from qwen3_rag.backends._remote.spec import Remote, secrets_in
from qwen3_rag.errors import BackendError, Qwen3RagError

__all__ = ["BrokenAnswer", "Http", "Refused", "Unreadable"]

T = TypeVar("T")

SHOWN = 300  # characters of a server's message


class Refused(BackendError):
    """The server refused a request for good.

    Attributes:
        status: The HTTP status.
    """

    status = 0


class Unreadable(BackendError):
    """The server answers, but never with what was asked."""


class Unanswered(BackendError):
    """The server cannot be reached, or is busy all the time."""


class BrokenAnswer(Exception):
    """An answer is incomplete or wrong, as after an interrupted connection."""


class Failure(Exception):
    """A failure that may pass.

    Attributes:
        asked: Seconds that the server asks to wait; `None` if it does not say.
        kind: The error after the last attempt.
    """

    def __init__(
        self, what: str, asked: float | None = None, kind: type[BackendError] = Unanswered
    ) -> None:
        super().__init__(what)
        self.asked = asked
        self.kind = kind


@dataclass(frozen=True)
class Request:
    """What to ask.

    Attributes:
        method: The HTTP method.
        path: The path behind the server's address.
        body: What to send as JSON.
        room: Bytes that the results may have.
    """

    method: str
    path: str
    body: Any = None
    room: int = 0


class Http:
    """A client of one server. Belongs to the event loop that it is used on.

    Attributes:
        finding: Whether it is being found out what the server speaks. A server that is busy must
            not be taken for one that does not know a path, so it is asked again.
    """

    def __init__(self, spec: Remote) -> None:
        """Store the settings; no connection is made.

        Raises:
            BackendError: The environment names an unusable proxy or certificate.
        """
        self._spec = spec
        self.finding = False
        headers = httpx.Headers(spec.headers)
        headers.setdefault("Accept-Encoding", ACCEPTED)
        try:
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=spec.timeout,
                http2=find_spec("h2") is not None,
                limits=httpx.Limits(max_connections=spec.concurrency),
                follow_redirects=False,
                mounts={f"all://{host}": None for host in LOCAL},
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise no_client(spec.base_url, error) from None
        self._turns = asyncio.Semaphore(spec.concurrency)

    @property
    def address(self) -> str:
        """The server's address, for messages."""
        return self._spec.base_url

    async def get(self, path: str, *, must: bool = False) -> Any:
        """Read JSON; `None` if there is no usable answer.

        Raises:
            BackendError: There is none, with `must`, or none at all while `finding`.
        """
        try:
            return await self._send(Request("GET", path), lambda answer: answer)
        except BackendError as error:
            if must or (self.finding and isinstance(error, Unanswered)):
                raise
            return None

    async def post(self, path: str, body: Any, read: Callable[[Any], T], room: int = 0) -> T:
        """Send JSON and read the answer.

        Args:
            path: The path behind the server's address.
            body: What to send.
            read: Reads the answer's JSON. A `BrokenAnswer` or a missing field makes the request be
                sent again.
            room: Bytes that the results may have. A longer answer is an error.

        Raises:
            Refused: The server refuses the request.
            Unreadable: Its answers are not what was asked.
            BackendError: It cannot be reached, or is never ready.
        """
        return await self._send(Request("POST", path, body, room), read)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, request: Request, read: Callable[[Any], T]) -> T:
        repeats = request.method == "POST" or self.finding
        tries = 1 + (self._spec.max_retries if repeats else 0)
        async with self._turns:
            for turn in range(tries):
                try:
                    return await self._try(request, read)
                except Failure as failure:
                    if failure.kind is Unreadable and request.method == "GET":
                        tries = turn + 1  # it is another server's
                    asked = failure.asked or 0
                    if turn + 1 == tries or asked > MAX_WAIT:
                        raise failure.kind(
                            f"{self.address}{request.path} could not be used in {turn + 1} "
                            f"attempts; the last gave: {str(failure).rstrip('.')}. {_remedy(asked)}"
                        ) from failure
                    await asyncio.sleep(wait_before(turn + 1, failure.asked))
        raise AssertionError  # the last turn returns or raises

    async def _try(self, request: Request, read: Callable[[Any], T]) -> T:
        key = read_key(self._spec.api_key, self._spec.api_key_env)
        answer = await self._answer(request, key)
        if isinstance(answer, Exception):
            raise answer
        if answer.is_success:
            try:
                return read(answer.json())
            except Qwen3RagError:
                raise
            except Exception as error:  # servers answer anything
                raise self._unreadable(answer, error, key) from None
        # With 500, some servers say that they do not know a path.
        if may_repeat(answer.status) and (request.method == "POST" or answer.status != 500):
            said = f"status {answer.status}: {self._message(answer, key)}"
            raise Failure(said, asked_wait(answer.headers))
        raise self._refused(request.path, answer, key)

    async def _answer(self, request: Request, key: Key | None) -> Received | Failure | BackendError:
        """Send a request once.

        httpx's errors hold the request, and with it the key. So errors are returned, not raised:
        they would keep those as their context.
        """
        address = f"{self.address}{request.path}"
        auth = None if key is None else Bearer(key)
        try:
            # httpx limits each read, and a server that sends byte after byte needs many.
            async with asyncio.timeout(self._spec.timeout):
                sent = self._client.stream(request.method, address, json=request.body, auth=auth)
                async with sent as response:
                    return await receive(response, request.room)
        except TooLong as error:
            return BackendError(
                f"{address} answers with {error}. Check the address, and what answers there."
            )
        except (TimeoutError, httpx.TimeoutException):
            return Failure(f"no answer within {self._spec.timeout:g} seconds")
        except httpx.HTTPError as error:
            what = self._hidden(str(error) or type(error).__name__, key)
        except Exception as error:  # what no client can send, such as a host without an ASCII form
            return BackendError(self._hidden(str(not_sent(address, error)), key))
        if "CERTIFICATE_VERIFY_FAILED" in what:
            return BackendError(
                f"The certificate of {self.address} is not trusted here: {what}. Let the "
                "environment variable SSL_CERT_FILE name a file with its issuer's certificate."
            )
        return Failure(what)

    def _unreadable(self, answer: Received, error: Exception, key: Key | None) -> Failure:
        what = f"{type(error).__name__}: {error}; it begins with {answer.text[:80]!r}"
        return Failure(
            f"an answer that cannot be read ({self._hidden(what, key)})", kind=Unreadable
        )

    def _refused(self, path: str, answer: Received, key: Key | None) -> Refused:
        status, said = answer.status, self._message(answer, key)
        if status in (401, 403):
            known = "the key" if key is not None else "a request without a key"
            text = (
                f"{self.address} refuses {known} (status {status}: {said}). Give `api_key` or "
                "`api_key_env`; a key given as a value is not kept in pickles and files."
            )
        elif answer.is_redirect:
            there = self._hidden(without_secrets(answer.headers["Location"]), key)
            text = (
                f"{self.address}{path} sends to {there!r}, and nothing is sent there, since the "
                "key may be for this server alone. If it is right, give that as the address."
            )
        else:
            text = f"{self.address}{path} answers with status {status}: {said}."
        error = Refused(text)
        error.status = status
        return error

    def _message(self, answer: Received, key: Key | None) -> str:
        """The server's own words, wherever it puts them."""
        try:
            found: Any = answer.json()
        except (ValueError, RecursionError):
            found = answer.text
        code = ""
        for _ in range(3):
            if isinstance(found, dict):
                if isinstance(found.get("code"), (str, int)) and found["code"] != answer.status:
                    code = f"{found['code']}: "
                names = ("error", "message", "detail", "msg")
                found = next((found[name] for name in names if name in found), str(found))
        said = self._hidden(f"{code}{' '.join(str(found).split())}", key)
        return said[:SHOWN].rstrip(".") or "no message"

    def _hidden(self, text: str, key: Key | None) -> str:
        """Replace all secrets in a text, as servers may repeat them in their messages."""
        for secret in secrets_in(self._spec.headers):
            text = text.replace(secret, "***")
        return text if key is None else key.hide_in(text)


def _remedy(asked: float) -> str:
    """Say what to do about a request that failed, whose server may ask to wait."""
    if asked > MAX_WAIT:
        return f"It asks to wait {asked:.0f} seconds, and {MAX_WAIT:.0f} are waited at most."
    return "Check that the server runs and is not overloaded, or raise `timeout` or `max_retries`."


class Bearer(httpx.Auth):
    """Adds the key as a request is sent, so that no variable shows it in a traceback."""

    def __init__(self, key: Key) -> None:
        """Store the key."""
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request
