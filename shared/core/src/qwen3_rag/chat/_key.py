"""The key of an endpoint, kept out of messages, representations and pickles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NoReturn, Protocol, runtime_checkable

from qwen3_rag.errors import BackendError, InputError, InputTypeError

__all__ = ["Key", "SecretString"]


@runtime_checkable
class SecretString(Protocol):
    """A string that shows itself only when asked, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Return the string."""
        ...


@dataclass(frozen=True, repr=False)
class Key:
    """A key that the caller gave. It cannot be pickled."""

    _value: str

    @classmethod
    def of(cls, given: object) -> Key:
        """Wrap a string or secret.

        Raises:
            InputTypeError: It is neither.
            InputError: It cannot be sent in a header.
        """
        if isinstance(given, Key):
            return given
        value = given.get_secret_value() if isinstance(given, SecretString) else given
        if not isinstance(value, str):
            raise InputTypeError(
                "`api_key` must be a string or an object with `get_secret_value`, got "
                f"{type(given).__name__}."
            )
        return cls(_check(value, "`api_key`"))

    @classmethod
    def from_environment(cls, variable: str) -> Key:
        """Read the key from an environment variable.

        Raises:
            InputError: The variable is not set, or its value cannot be sent in a header.
        """
        value = os.environ.get(variable)
        if value is None:
            raise InputError(
                f"The environment variable {variable!r}, which `api_key_env` names, is not set. "
                "Set it to the endpoint's key, or omit `api_key_env` if the endpoint needs none."
            )
        return cls(_check(value, f"The environment variable {variable!r}"))

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value

    def hide_in(self, text: str) -> str:
        """Replace the key in a text, as servers may repeat it in their messages."""
        return text.replace(self._value, "***")

    def __repr__(self) -> str:
        return "***"

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Key:
        return self

    def __reduce__(self) -> NoReturn:
        raise BackendError(
            "A Chat with an `api_key` cannot be pickled, because the pickle would hold the key. "
            "Name an environment variable that holds it as `api_key_env` instead."
        )


def _check(value: str, name: str) -> str:
    """Check a key without showing it: HTTP clients show headers that they cannot send."""
    value = value.strip()  # keys read from files end with a newline
    if not value or not all("!" <= character <= "~" for character in value):
        raise InputError(
            f"{name} is empty, or has white space or characters that are not ASCII, so it cannot "
            "be a key. Copy the key again."
        )
    return value
