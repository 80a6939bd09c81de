"""The door behind an adapter: made of its settings when needed, or one that the caller opened.

For those who adapt the doors to a framework. Knows threads, copies and pickles; knows no framework,
and holds no weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import Any, Generic, TypeVar

from qwen3_rag.door import Door
from qwen3_rag.errors import BackendError, InputError, MissingExtraError

__all__ = ["LazyDoor", "check_settings", "settings_of"]

D = TypeVar("D", bound=Door)


class LazyDoor(Generic[D]):
    """One door for the present settings, whichever thread asks; anew when they were changed.

    Copies and pickles leave a made door behind; copies share a given one, and pickles refuse it.

    Attributes:
        given: The caller's door, if there is one.
    """

    def __init__(self, given: D | None = None, settings: dict[str, Any] | None = None) -> None:
        """Hold the caller's door, or nothing yet.

        Args:
            given: The caller's door.
            settings: What the adapter says of that door, where this can be changed: other settings
                are then an error.
        """
        self.given = given
        self._settings = settings
        self._made: D | None = None
        self._lock = Lock()

    def open(self, make: Callable[..., D], settings: dict[str, Any]) -> D:
        """Give the caller's door, or else the one which `make` makes of the settings.

        Raises:
            InputError: A value out of its range, or other settings than the given door's.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        if self.given is not None:
            self._check_unchanged(settings)
            return self.given
        with self._lock:
            if self._made is None or self._settings != settings:
                self._made, self._settings = make(**settings), settings
            return self._made

    def close(self) -> None:
        """Close what was made here."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def refuse_if_given(self) -> None:
        """Raise `BackendError` where the caller alone has the model."""
        if self.given is not None:
            raise BackendError(
                f"This adapter was made around {self.given!r}, a model that you opened, which no "
                "pickle or file holds, so it cannot be sent to worker processes either. Save the "
                "model to a folder and make an adapter of that, or make one anew where it is "
                "needed."
            )

    def _check_unchanged(self, settings: dict[str, Any]) -> None:
        known = self._settings or settings
        changed = sorted(name for name in settings if settings[name] != known[name])
        if changed:
            raise InputError(
                f"{self.given!r} was opened by you and its settings stay as they are; changed on "
                f"the adapter: {', '.join(changed)}. Open another one and make an adapter of it."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyDoor) and self.given is other.given

    __hash__ = None  # type: ignore[assignment]  # the way to say so

    def __copy__(self) -> LazyDoor[D]:
        return LazyDoor(self.given, self._settings)

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyDoor[D]:
        return LazyDoor(self.given, self._settings)

    def __reduce__(self) -> Any:
        self.refuse_if_given()
        return LazyDoor, ()


def settings_of(adapter: object, kind: Callable[..., Door]) -> dict[str, Any]:
    """Read a door's settings off an object: those of its attributes that are named like them."""
    return {name: getattr(adapter, name) for name in _arguments(kind) if hasattr(adapter, name)}


def check_settings(kind: type[Door], settings: dict[str, Any]) -> None:
    """Refuse what the door refuses, whether or not PyTorch is there to run it.

    Raises:
        InputError: A value out of its range.
    """
    with suppress(MissingExtraError):  # it comes last, and tells when the model is needed
        kind(**settings)


@cache
def _arguments(kind: Callable[..., Door]) -> tuple[str, ...]:
    return tuple(inspect.signature(kind).parameters)
