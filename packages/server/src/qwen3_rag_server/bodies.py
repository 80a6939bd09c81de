"""Bodies of requests: read within limits, and checked against a model of their fields."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request

from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.settings import Settings

__all__ = ["OWN", "Body", "discard", "read_body", "read_json"]

#: The type of this package's own errors about fields, whose messages are whole.
OWN = "qwen3_rag"

#: Seconds without a byte of a body that nobody waits for, until the connection is closed.
_LONGEST_PAUSE = 1.0


class Body(BaseModel):
    """The fields of a request; others are refused, because none is ignored in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


B = TypeVar("B", bound=Body)


async def read_json(
    request: Request, settings: Settings, arrived: Callable[[int], None] = lambda length: None
) -> Any:
    """Read a request's body as JSON.

    Args:
        request: The request.
        settings: The limits of one body.
        arrived: Is told the length of each part, and may refuse it.

    Raises:
        Refusal: It is too long, too slow, compressed, or no JSON.
        ClientDisconnect: The client has gone.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Refusal(
            415, f"The body is sent as {coding!r:.80}. Send it without a Content-Encoding."
        )
    too_long = Refusal(
        413, f"The body is longer than {settings.max_body:,} bytes. Send fewer texts at once."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > settings.max_body:
        raise too_long
    parts, length = [], 0
    try:
        async with asyncio.timeout(settings.body_timeout):
            async for part in request.stream():
                length += len(part)
                if length > settings.max_body:
                    raise too_long
                arrived(len(part))
                parts.append(part)
    except TimeoutError:
        raise Refusal(
            408, f"The body did not arrive within {settings.body_timeout:g} seconds."
        ) from None
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"The body is not JSON in UTF-8: {error}.") from None


async def discard(request: Request, until: float) -> bool:
    """Read what a client still sends: many read an answer only after they have sent all.

    Args:
        request: The request.
        until: The time of the event loop's clock when to give up.

    Returns:
        Whether all has come.
    """
    if "expect" in request.headers:  # the client waits to be told whether to send
        return False
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout_at(min(until, now() + _LONGEST_PAUSE)) as limit:
            async for _ in request.stream():
                limit.reschedule(min(until, now() + _LONGEST_PAUSE))
    except RuntimeError:  # it was read before
        return True
    except (ClientDisconnect, TimeoutError):
        return False
    return True


def read_body(data: Any, kind: type[B]) -> B:
    """Check a body's fields.

    Raises:
        Refusal: One is missing, unknown or of another type.
    """
    if not isinstance(data, dict):
        raise Refusal(400, f"The body must be a JSON object, got {_kind(data)}.")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _refused(error, kind) from None


def _refused(error: ValidationError, kind: type[Body]) -> Refusal:
    """Tell of the first field that is wrong, without repeating its value, which may be long."""
    first = error.errors(include_url=False, include_input=True)[0]
    path = [one for one in first["loc"] if isinstance(one, int) or one in _names(kind)]
    place = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path).lstrip(".")
    field = f"{first['loc'][0]:.80}" if first["loc"] else None  # an unknown name may be long
    if first["type"] == OWN:
        return Refusal(400, f"{f'`{place}`: ' if place else ''}{first['msg']}.", field)
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(_names(kind)))
        return Refusal(400, f"The field {field!r:.80} is not known here. Known are {known}.", field)
    if first["type"] == "missing":
        return Refusal(400, f"The field `{place or field}` is missing.", field)
    return Refusal(400, f"`{place or field}`: {first['msg']}, got {_kind(first['input'])}.", field)


def _names(kind: type[Body]) -> set[str]:
    return {one.alias or name for name, one in kind.model_fields.items()}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    if value is None:
        return "null"
    if isinstance(value, str) and len(value) <= 40:
        return repr(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value}"[:40]
    return names.get(type(value), "a number")
