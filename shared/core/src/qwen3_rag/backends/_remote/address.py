"""Checks a server's address and headers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["check_address", "check_headers"]


def check_address(address: str) -> str:
    """Check an address, and remove a slash or `/v1` at its end.

    Raises:
        InputError: It is not an HTTP address, or holds a password, a query or a fragment.
    """
    if not isinstance(address, str):
        raise InputTypeError(f"`base_url` must be a str, got {type(address).__name__}.")
    try:
        parts = urlsplit(address.strip())
        port = parts.port
    except ValueError as error:
        raise InputError(f"`base_url` is no address: {error}.") from error
    if parts.username is not None or parts.password is not None:
        # Not shown, because it holds a secret.
        raise InputError(
            "`base_url` holds a user or a password. Leave them out and give `api_key` or "
            "`api_key_env`."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InputError(
            f"`base_url` must be like 'http://localhost:8000' or 'https://host/path', got "
            f"{address!r}."
        )
    if parts.query or parts.fragment:
        raise InputError("`base_url` must have no `?` and no `#`.")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/v1")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check that headers are texts.

    Raises:
        InputTypeError: They are not. The values are not shown: one may be a secret.
    """
    if not isinstance(headers, Mapping) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in headers.items()
    ):
        raise InputTypeError("`headers` must be a mapping of names to texts.")
    return dict(headers)
