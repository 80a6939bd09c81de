"""Errors as HTTP answers: the status, and a body that each kind of client can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwen3_rag.errors import (
    BackendError,
    InputError,
    MissingExtraError,
    ModelError,
    Qwen3RagError,
    StoreError,
)

__all__ = ["Refusal", "refusal_of"]

#: Statuses of the library's errors, the first that fits. What is wrong on the server's side is 502
#: or 503 where it may pass.
_STATUSES: tuple[tuple[type[Qwen3RagError], int], ...] = (
    (InputError, 400),
    (MissingExtraError, 501),
    (ModelError, 500),
    (StoreError, 502),
    (BackendError, 503),
)

#: What OpenAI's clients find in `error.type`.
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
_TYPES |= {408: "timeout_error", 429: "rate_limit_error"}


#: Characters of a message of the library in an answer.
LONGEST = 800


class Refusal(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: What was given, what is allowed, and what to do.
        field: The field of the body that it is about.
        retry_after: Seconds after which to try again.
    """

    def __init__(
        self, status: int, message: str, field: str | None = None, retry_after: int | None = None
    ) -> None:
        """Set the attributes."""
        super().__init__(message)
        self.status, self.message = status, message
        self.field, self.retry_after = field, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """An object in `error`, as OpenAI's clients read it, and Cohere's `message` beside it."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else _TYPES[400])
        told = {"message": self.message, "type": kind, "param": self.field, "code": self.status}
        return {"error": told, "message": self.message}

    @property
    def plain_body(self) -> dict[str, Any]:
        """A text in `error`, as clients of Text Embeddings Inference and Weaviate read it."""
        kind = "overloaded" if self.status == 429 else "validation"
        return {
            "error": self.message,
            "error_type": kind if self.status < 500 else "backend",
            "message": self.message,
        }

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def refusal_of(error: Qwen3RagError, names: Mapping[str, str]) -> Refusal:
    """Make the answer to an error of the library.

    Args:
        error: The error.
        names: What its message calls the fields of a body, and their names in the request.
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    message = str(error)
    for name, field in names.items():
        message = message.replace(f"`{name}", f"`{field}")
    if len(message) > LONGEST:  # it repeats a value of the request
        message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
    return Refusal(status, message, retry_after=1 if status == 503 else None)
