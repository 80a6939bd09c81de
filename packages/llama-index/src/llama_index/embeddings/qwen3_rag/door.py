"""The core's door behind an adapter: made of its settings when needed, or given by the caller.

Knows threads, copies and pickles; knows nothing of LlamaIndex and holds no weights.
"""

from __future__ import annotations

import threading
from dataclasses import fields
from typing import Any

from qwen3_rag import BackendError, InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends.local.backend import LocalBackend
from qwen3_rag.door import Door

__all__ = ["LazyDoor", "local_settings"]

Settings = dict[str, Any]


class LazyDoor:
    """One door for the present settings, whichever thread asks; anew when they were changed.

    Copies and pickles leave a made door behind, copies share a given one, and pickles refuse it.

    Attributes:
        given: The caller's door, if there is one.
    """

    def __init__(self, given: Door | None = None, settings: Settings | None = None) -> None:
        """Hold the caller's door, and the settings it goes by, or nothing yet."""
        self.given = given
        self._settings = settings
        self._made: Door | None = None
        self._lock = threading.Lock()

    def open(self, kind: type[Door], settings: Settings) -> Door:
        """Give the door.

        Raises:
            InputError: A value out of its range, or other settings than the given door's.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        if self.given is not None:
            self._check_unchanged(settings)
            return self.given
        with self._lock:
            if self._made is None or self._settings != settings:
                self._made, self._settings = kind(**settings), settings
            return self._made

    def close(self) -> None:
        """Close what was made here."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def refuse_if_given(self, name: str) -> None:
        """Raise `BackendError` where no settings can bring the door back."""
        if self.given is not None:
            raise BackendError(
                f"This {name} was made around {self.given!r}, which no pickle or dictionary holds, "
                "so it cannot be sent to worker processes either. Save the model to a folder and "
                f"make a {name} from that, or make one anew where it is needed."
            )

    def _check_unchanged(self, settings: Settings) -> None:
        known = self._settings or settings
        changed = sorted(name for name in settings if settings[name] != known[name])
        if changed:
            raise InputError(
                f"{self.given!r} was opened by you and its settings stay as they are; changed on "
                f"the adapter: {', '.join(changed)}. Open another one and make an adapter of it."
            )

    def __copy__(self) -> LazyDoor:
        return LazyDoor(self.given, self._settings)

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyDoor:
        return LazyDoor(self.given, self._settings)

    def __reduce__(self) -> Any:
        self.refuse_if_given("adapter")
        return LazyDoor, ()


def local_settings(door: Door) -> Settings | None:
    """Read what a door was opened with; `None` where that does not bring its model back."""
    backend = getattr(door, "_backend", None)
    if type(door) not in (Qwen3Embedder, Qwen3Reranker) or not isinstance(backend, LocalBackend):
        return None
    if backend._objects is not None or backend._closed:
        return None
    names = {field.name for field in fields(backend.spec)} - {"model", "role"}
    return {name: getattr(backend.spec, name) for name in names}
