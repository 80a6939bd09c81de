"""The core's door behind a component: made from the component's settings when first needed.

Knows Haystack's ways with settings, secrets and devices; knows nothing of queries and documents.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from enum import Enum
from typing import Any, Generic, Self, TypeAlias, TypeVar

from haystack import default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack.utils import ComponentDevice, Secret

from qwen3_rag.door import Door
from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.inputs import check_device

__all__ = [
    "HF_TOKEN",
    "Device",
    "DoorComponent",
    "LazyDoor",
    "check_kind",
    "check_token",
    "device_names",
    "serialised",
]

D = TypeVar("D", bound=Door)

Device: TypeAlias = str | Sequence[str] | ComponentDevice | None

#: Where a token is looked for unless a component is told otherwise; none is needed.
HF_TOKEN = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)


class LazyDoor(Generic[D]):
    """One door, made once, whichever thread asks first. Copies and pickles carry no weights."""

    def __init__(self, kind: type[D], component: object) -> None:
        """Read the door's settings off the component and have the door check them.

        Args:
            kind: `Qwen3Embedder` or `Qwen3Reranker`.
            component: Has an attribute for each of the door's arguments that it decides.

        Raises:
            InputError: A value the door refuses.
        """
        names = inspect.signature(kind).parameters
        self._kind = kind
        self._settings = {n: getattr(component, n) for n in names if hasattr(component, n)}
        self._handed_over = False
        self._door: D | None = None
        self._lock = threading.Lock()
        # With a backend named, a door checks its settings without asking for PyTorch: a pipeline
        # can be read, changed and saved where it could not run.
        kind(**{**self._settings, "token": None, "backend": object()})

    def open(self) -> D:
        """Give the door, resolving the token when it is made."""
        with self._lock:
            if self._door is None:
                token = self._settings["token"]
                resolved = None if token is None else token.resolve_value()
                self._door = self._kind(**{**self._settings, "token": resolved})
            return self._door

    def hand_over(self, door: D) -> None:
        """Use a door the caller made; it stays the caller's to close."""
        self._door, self._handed_over = door, True

    def close(self) -> None:
        """Let go of the model; the next use opens it again."""
        if self._handed_over:
            return
        with self._lock:
            door, self._door = self._door, None
        if door is not None:
            door.close()

    def check_serialisable(self, component: object) -> None:
        """Refuse where the settings alone would give another door.

        Raises:
            SerializationError: The door was handed over.
        """
        if self._handed_over:
            name = type(component).__name__
            raise SerializationError(
                f"This {name} uses a model that was handed over to it, which no file can hold. "
                f"Make it from its settings instead: {name}({self._settings['model']!r}, ...)."
            )

    def __getstate__(self) -> dict[str, Any]:
        kept = self._door if self._handed_over else None
        return {**self.__dict__, "_door": kept, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class DoorComponent(Generic[D]):
    """What the components with a model have in common: its life, and how they are saved."""

    _door: LazyDoor[D]

    def warm_up(self) -> None:
        """Load the model, unless it is loaded."""
        self._door.open().warm_up()

    async def warm_up_async(self) -> None:
        """Load the model without blocking the event loop."""
        await self._door.open().awarm_up()

    def close(self) -> None:
        """Let go of the model; the next use loads it again. One that was handed over stays."""
        self._door.close()

    async def close_async(self) -> None:
        """Let go of the model; see `close`."""
        self._door.close()

    def to_dict(self) -> dict[str, Any]:
        """Write the settings down.

        Raises:
            SerializationError: The model was handed over.
            ValueError: The token was given as it is, and not by the variable that holds it.
        """
        self._door.check_serialisable(self)
        return serialised(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make one from what `to_dict` wrote."""
        return default_from_dict(cls, data)


def check_kind(value: object, kind: type, name: str) -> None:
    """Make sure an argument is an object of the kind that is needed."""
    if not isinstance(value, kind):
        raise InputTypeError(
            f"`{name}` must be a {kind.__name__}, got {value!r} ({type(value).__name__})."
        )


def check_token(token: Secret | None) -> Secret | None:
    """Make sure a token is wrapped, so that it does not end up in a file or a log."""
    if token is not None and not isinstance(token, Secret):
        raise InputTypeError(
            f"`token` must be a Haystack Secret, got {type(token).__name__}. Use "
            "`Secret.from_env_var('HF_TOKEN')`, or `Secret.from_token(...)`."
        )
    return token


def device_names(device: Device) -> str | list[str] | None:
    """Bring a device, Haystack's own among them, to the names that YAML can hold.

    What was given is kept: `None` stays open until the model is loaded.

    Raises:
        InputError: A device map, which splits one model over devices.
        InputTypeError: No device.
    """
    if isinstance(device, ComponentDevice):
        if device.has_multiple_devices:
            raise InputError(
                "`device` must not be a device map: the model is not split. Give a list such as "
                "['cuda:0', 'cuda:1'] to have each device hold all of it and share the work."
            )
        return device.to_torch_str()
    names = check_device(device)
    return list(names) if isinstance(names, tuple) else names


def serialised(component: object) -> dict[str, Any]:
    """Write down every argument of a component's constructor, whichever there are."""
    names = list(inspect.signature(type(component).__init__).parameters)[1:]
    return default_to_dict(component, **{name: _plain(getattr(component, name)) for name in names})


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
