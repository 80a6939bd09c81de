"""An adapter's model, created at first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Generic, TypeVar

from qwen3_rag._model import ModelBase

__all__ = ["LazyModel"]

M = TypeVar("M", bound=ModelBase)


class LazyModel(Generic[M]):
    """One model for all threads, created at first use.

    Copies and pickles start empty. All instances compare equal, so that adapters compare by their
    settings only.
    """

    def __init__(self) -> None:
        """Start without a model."""
        self._lock = Lock()
        self._pid = os.getpid()
        self._made: M | None = None
        self._arguments: Mapping[str, Any] | None = None

    @property
    def is_made(self) -> bool:
        """Whether the model has been created."""
        return self._made is not None

    def get(self, make: Callable[[], M]) -> M:
        """Return the model; create it with `make` if there is none yet."""
        made = self._made
        if made is None:
            with self._own_lock():
                made = self._made
                if made is None:
                    made = self._made = make()
        return made

    def get_for(self, kind: Callable[..., M], arguments: Mapping[str, Any]) -> M:
        """Return the model for these arguments; create it again if they have changed.

        This is for frameworks whose components can be changed after creation.
        """
        with self._own_lock():
            if self._made is None or self._arguments != arguments:
                self._made, self._arguments = kind(**arguments), dict(arguments)
            return self._made

    def close(self) -> None:
        """Close the model, if there is one; the next use creates a new one."""
        with self._own_lock():
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _own_lock(self) -> Lock:
        if self._pid != os.getpid():  # in a forked child nobody releases what a thread held
            self._lock, self._pid = Lock(), os.getpid()
        return self._lock

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyModel)

    __hash__ = None  # type: ignore[assignment]  # the documented way to be unhashable

    def __copy__(self) -> LazyModel[M]:
        return LazyModel()

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyModel[M]:
        return LazyModel()

    def __reduce__(self) -> Any:
        return LazyModel, ()
