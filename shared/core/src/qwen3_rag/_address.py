"""Reads a server's address. Messages show none that may hold a password or a key."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from qwen3_rag.errors import BackendError, InputError, InputTypeError

__all__ = ["LOCAL", "no_client", "not_sent", "read_address", "without_secrets"]

#: Hosts of this machine, which are asked directly whatever proxy the environment names. The last
#: two are what servers print that listen on all addresses.
LOCAL = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]")


def read_address(address: object) -> SplitResult:
    """Read the address that was given as `base_url`.

    Raises:
        InputTypeError: It is no string.
        InputError: It is no HTTP address, or holds a password, a query or a fragment.
    """
    if not isinstance(address, str):
        raise InputTypeError(f"`base_url` must be a string, got {type(address).__name__}.")
    address = address.strip()
    if any(character.isspace() or not character.isprintable() for character in address):
        raise InputError("`base_url` must have no white space and no control characters.")
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # whose message may quote a password as the port
        raise InputError(_wrong("another host or port")) from None
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "`base_url` holds a user or a password. Leave them out and give `api_key` or "
            "`api_key_env`."
        )
    if not known:
        may_be_secret = any(mark in address for mark in "@?#")
        raise InputError(_wrong("something else" if may_be_secret else repr(address)))
    if parts.query or parts.fragment:
        raise InputError("`base_url` must have no `?` and no `#`.")
    return parts


def no_client(address: str, error: Exception) -> BackendError:
    """Say that the environment keeps an HTTP client from being made."""
    # Only these quote nothing of a proxy's address, which may hold a password.
    reason = f": {str(error).rstrip('.')}" if isinstance(error, ImportError | OSError) else ""
    return BackendError(
        f"No client can be made for {address}{reason}. Look at the environment variables "
        "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE."
    )


def not_sent(address: str, error: Exception) -> BackendError:
    """Say that an HTTP client cannot send a request, such as to a proxy's impossible port."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    reason = str(error).rstrip(".")
    return BackendError(
        f"{address} cannot be asked: {type(error).__name__}: {reason}. Check the address, the "
        "headers, and the environment variables HTTP_PROXY, HTTPS_PROXY and ALL_PROXY."
    )


def without_secrets(address: str) -> str:
    """Leave out what may be a secret in an address: its user, password, query and fragment."""
    return re.sub("//[^/]*@", "//", re.split("[?#]", address)[0])


def _wrong(got: str) -> str:
    return f"`base_url` must be like 'http://localhost:8000' or 'https://host/path', got {got}."
