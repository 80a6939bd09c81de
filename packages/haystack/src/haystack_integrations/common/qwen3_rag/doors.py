"""The core's door behind a component: made from the component's settings when first needed.

Knows Haystack's ways with settings, secrets and devices; knows nothing of queries and documents.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from enum import Enum
from typing import Any, Generic, Self, TypeAlias, TypeVar

from haystack import default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack.utils import ComponentDevice, Secret

from qwen3_rag._lazy import LazyDoor, check_settings, settings_of
from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.integration import check_device

__all__ = [
    "HF_TOKEN",
    "Device",
    "DoorComponent",
    "check_kind",
    "check_token",
    "device_names",
    "serialised",
]

D = TypeVar("D", bound=Door)

Device: TypeAlias = str | Sequence[str] | ComponentDevice | None

#: Where a token is looked for unless a component is told otherwise; none is needed.
HF_TOKEN = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)


class DoorComponent(Generic[D]):
    """What the components with a model have in common: its life, and how they are saved."""

    _kind: type[D]
    _door: LazyDoor[D]

    def warm_up(self) -> None:
        """Load the model, unless it is loaded."""
        self._open().warm_up()

    async def warm_up_async(self) -> None:
        """Load the model without blocking the event loop."""
        await self._open().awarm_up()

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
        if self._door.given is not None:
            name = type(self).__name__
            raise SerializationError(
                f"This {name} uses a model that was handed over to it, which no file can hold. "
                f"Make it from its settings instead: {name}({self._door.given.model!r}, ...)."
            )
        return serialised(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make one from what `to_dict` wrote."""
        return default_from_dict(cls, data)

    def _lazy_door(self) -> LazyDoor[D]:
        """Check the settings, all but the token, which is read when the door is made."""
        check_settings(self._kind, {**settings_of(self, self._kind), "token": None})
        return LazyDoor()

    def _open(self) -> D:
        """The core's door for the present settings."""
        return self._door.open(self._make, settings_of(self, self._kind))

    def _make(self, token: Secret | None, **settings: Any) -> D:
        return self._kind(**{**settings, "token": token and token.resolve_value()})


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
