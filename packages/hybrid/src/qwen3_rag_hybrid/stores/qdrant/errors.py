"""The errors of a Qdrant server and its client, as `StoreError`s with a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid.stores.findings import no_collection

__all__ = ["failure", "retry_after"]

_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.DEADLINE_EXCEEDED: 408,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}

_REMEDIES = {
    401: "Pass the server's API key: `QdrantClient(..., api_key=...)`.",
    403: "Use an API key that is allowed to do this.",
    404: "Check that the address is that of a Qdrant server, and not of another program.",
    408: "Pass the client a longer `timeout`, in seconds: `QdrantClient(..., timeout=60)`.",
    413: "Add fewer documents at once, with `batch_size`, or shorter ones; or raise the server's "
    "`max_request_size_mb`.",
    429: "Wait and call again, or change the limit in the collection's `strict_mode_config`. If "
    "one request is over it, add fewer documents at once, with `batch_size`.",
    501: "Update the server: this package needs 1.16 or later.",
    503: "Check that the server runs at that address, and that it is not starting or overloaded.",
}


@dataclass(frozen=True)
class _Answer:
    """What was answered instead of a result; a server that was not reached counts as 503."""

    status: int
    message: str
    retry_after: float = 0.0


def failure(action: str, name: str, collection: str, error: Exception) -> StoreError:
    """Make the error to raise.

    Args:
        action: What was being done: `"Searching"`.
        name: The collection's name for error messages.
        collection: The collection's name.
        error: The client's error, of any transport.
    """
    answer = _answer(error)
    failed = f"{action} {name[0].lower()}{name[1:]} failed: "
    if answer is None:
        return StoreError(f"{failed}{type(error).__name__}: {error}")
    if answer.status == 404 and f"Collection `{collection}`" in answer.message:
        return StoreError(str(no_collection(collection)))
    message = answer.message.rstrip(". ")
    is_too_large = answer.status == 400 and "larger than allowed" in message
    remedy = _REMEDIES.get(413 if is_too_large else answer.status, "")
    return StoreError(f"{failed}{message}. {remedy}".rstrip())


def retry_after(error: Exception) -> float | None:
    """Return how long to wait before the same request may succeed.

    Args:
        error: The client's error, of any transport.

    Returns:
        The seconds that the server asks for, 0 if it does not say; `None` if the request is wrong
        and would fail again.
    """
    answer = _answer(error)
    if answer is None or not (answer.status in (408, 429) or answer.status >= 500):
        return None
    return None if answer.status == 501 else answer.retry_after


def _answer(error: Exception) -> _Answer | None:
    """Read the client's error; `None` for one of its own, as in local mode."""
    if isinstance(error, UnexpectedResponse):
        status = error.status_code or 500
        return _Answer(status, f"the server answered {status}: {_body(error)}")
    if isinstance(error, ResourceExhaustedResponse):
        return _Answer(429, f"the server answered 429: {error}", error.retry_after_s)
    if isinstance(error, ResponseHandlingException) and isinstance(
        error.source, httpx.TransportError
    ):
        late = isinstance(error.source, httpx.TimeoutException)
        reason = f"{type(error.source).__name__}: {error.source}".rstrip(": ")
        return _Answer(408 if late else 503, f"the server was not reached ({reason})")
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        code = error.code()
        return _Answer(_STATUSES.get(code, 500), f"gRPC {code.name}: {error.details()}")
    return None


def _body(error: UnexpectedResponse) -> str:
    """Return the reason that the server gives, which the client's error cuts short."""
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, LookupError, TypeError):
        text = error.content.decode(errors="replace").strip()
        return text[:500] or error.reason_phrase or HTTPStatus(error.status_code or 500).phrase
