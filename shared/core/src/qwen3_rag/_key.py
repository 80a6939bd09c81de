"""The key of a server, kept out of messages, representations, pickles and files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["Key", "SecretString", "check_key", "read_key"]


@runtime_checkable
class SecretString(Protocol):
    """A string that shows itself only when asked, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Return the string."""
        ...


@runtime_checkable
class ResolvedSecret(Protocol):
    """Haystack's `Secret`, which may read the environment."""

    def resolve_value(self) -> Any:
        """Return the string, `None` if there is none."""
        ...


@dataclass(frozen=True, repr=False)
class Key:
    """A key that the caller gave. In a pickle, there is `None` in its place."""

    _given: str | SecretString | ResolvedSecret

    def reveal(self) -> str:
        """Return the key itself.

        Raises:
            InputError: It cannot be sent in a header, or its environment variable is not set.
        """
        return _revealed(self._given) or ""

    def hide_in(self, text: str) -> str:
        """Replace the key in a text, as servers may repeat it in their messages."""
        return text.replace(self.reveal(), "***")

    def __repr__(self) -> str:
        return "***"

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Key:
        return self

    def __reduce__(self) -> Any:
        return _left_out, ()


def check_key(given: object, variable: object) -> Key | None:
    """Check what the caller gave as `api_key` and `api_key_env`, and wrap the first.

    Raises:
        InputTypeError: They are no key and no name of a variable.
        InputError: Both are given, or the key cannot be sent in a header.
    """
    if variable is not None and (not isinstance(variable, str) or not variable.strip()):
        raise InputTypeError("`api_key_env` must be the name of an environment variable.")
    if given is None:
        return None
    if variable is not None:
        raise InputError("`api_key` and `api_key_env` are both given. Leave one of them out.")
    if isinstance(given, Key):
        return given
    if not isinstance(given, (str, SecretString, ResolvedSecret)):
        raise InputTypeError(
            "`api_key` must be a string, or an object that keeps one secret such as pydantic's "
            f"SecretStr and Haystack's Secret, got {type(given).__name__}."
        )
    return Key(_checked(given, "`api_key`") if isinstance(given, str) else given)


def read_key(given: Key | None, variable: str | None) -> Key | None:
    """Read the key of one request: the given one, or that in the environment.

    Raises:
        InputError: It cannot be sent in a header, or its environment variable is not set.
    """
    if given is not None:
        value = _revealed(given._given)
        return None if value is None else Key(value)
    if variable is None:
        return None
    value = os.environ.get(variable)
    if value is None:
        raise InputError(
            f"The environment variable {variable!r}, which `api_key_env` names, is not set. "
            "Set it to the server's key, or omit `api_key_env` if the server needs none."
        )
    return Key(_checked(value, f"The environment variable {variable!r}"))


def _revealed(given: str | SecretString | ResolvedSecret) -> str | None:
    if isinstance(given, str):
        return given
    if isinstance(given, SecretString):
        return _checked(given.get_secret_value(), "`api_key`")
    try:
        value = given.resolve_value()
    except ValueError as error:  # Haystack's, whose message names the environment variables
        raise InputError(str(error)) from None
    if value is None or (isinstance(value, str) and not value.strip()):
        return None  # an environment variable without a value
    return _checked(value, "`api_key`")


def _checked(value: object, name: str) -> str:
    """Check a key without showing it: HTTP clients show headers that they cannot send."""
    if not isinstance(value, str):
        raise InputTypeError(f"{name} must hold a string, got {type(value).__name__}.")
    value = value.strip()  # keys read from files end with a newline
    if value and not value.strip("*"):
        raise InputError(
            f"{name} is what pydantic shows in place of a secret, and was read from a text "
            "without it. Give the key again."
        )
    if not value or not all("!" <= character <= "~" for character in value):
        raise InputError(
            f"{name} is empty, or has white space or characters that are not ASCII, so it cannot "
            "be a key. Copy the key again."
        )
    return value


def _left_out() -> None:
    """Give what a pickle has in place of a key."""
