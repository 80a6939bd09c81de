"""The base class of components with a model: their arguments, their model and serialisation."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

from haystack import default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack.utils import ComponentDevice, Secret
from haystack.utils.auth import TokenSecret

from qwen3_rag.backends import BackendSpec
from qwen3_rag.errors import BackendError, InputError, InputTypeError
from qwen3_rag.integration import (
    KEY_VARIABLE,
    AdapterOptions,
    LazyModel,
    ModelBase,
    adapter_options,
    arguments_of,
    check_adapter_options,
    check_arguments,
    check_device,
    plain_headers,
    running_arguments,
)

__all__ = ["API_KEY", "HF_TOKEN", "Device", "ModelComponent", "arguments_from", "check_kind"]

M = TypeVar("M", bound=ModelBase)

Device: TypeAlias = str | Sequence[str] | ComponentDevice | None

#: The default token: read from the environment, and optional.
HF_TOKEN = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)

#: The default key of a server: read from the environment, and optional.
API_KEY = Secret.from_env_var(KEY_VARIABLE, strict=False)


class ModelComponent(Generic[M]):
    """A component around a model class of qwen3-rag.

    Haystack's components can be changed after creation, so the model is created from the attributes
    at the time of use.

    Attributes:
        backend: Runs the model instead of this process.
        api_base_url: Address of a server that runs it.
        api_key: The server's key.
        cache: File that keeps what was computed.
        device: Name of the device, or a list of names.
        token: Access token for private repositories.
    """

    _kind: ClassVar[type[ModelBase]]
    _lazy: LazyModel[M]
    backend: BackendSpec | None
    api_base_url: str | None
    api_key: Secret | None
    cache: str | None
    headers: dict[str, str] | None
    device: str | list[str] | None
    token: Secret | None

    def get_model(self) -> M:
        """Return the model for the current attributes; create it if necessary.

        The component closes it. It is loaded at its first use or by `warm_up`.

        Raises:
            InputError: A value is out of range.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        return self._lazy.get_for(self._make, self._all_arguments())

    def warm_up(self) -> None:
        """Load the model, unless it is loaded."""
        self.get_model().warm_up()

    async def warm_up_async(self) -> None:
        """Load the model without blocking the event loop."""
        await self.get_model().awarm_up()

    def close(self) -> None:
        """Release the model; the next use loads it again."""
        self._lazy.close()

    async def close_async(self) -> None:
        """Release the model; see `close`."""
        self._lazy.close()

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as a dictionary.

        Raises:
            SerializationError: The model was loaded by the caller.
            ValueError: The token or key was given directly instead of as an environment variable.
        """
        options = {name: getattr(self, name) for name in adapter_options()}
        if self.headers is not None:
            options["headers"] = plain_headers(self.headers)
        try:
            return default_to_dict(
                self,
                **self._model_arguments(),
                **self._component_arguments(),
                backend=self.backend,
                api_base_url=self.api_base_url,
                api_key=self.api_key,
                cache=self.cache,
                **options,
            )
        except BackendError as error:
            raise SerializationError(
                f"This {type(self).__name__} cannot be saved: {error}"
            ) from error

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Create an instance from the output of `to_dict`."""
        arguments = dict(data.get("init_parameters", {}))
        # Haystack would look for a component with the name of the backend's type.
        if isinstance(arguments.get("backend"), Mapping):
            arguments["backend"] = BackendSpec.from_dict(arguments["backend"])
        return default_from_dict(cls, {**data, "init_parameters": arguments})

    @abstractmethod
    def _model_arguments(self) -> dict[str, Any]:
        """The model class's arguments that apply to every backend."""

    def _component_arguments(self) -> dict[str, Any]:
        """The constructor's other arguments, except those of `_run_by`."""
        return {}

    def _run_by(
        self,
        backend: BackendSpec | None,
        api_base_url: str | None,
        api_key: Secret | None,
        cache: str | os.PathLike[str] | None,
        device: Device,
        token: Secret | None,
        options: AdapterOptions,
    ) -> None:
        """Store how the model is run, and check all of the model's arguments.

        Each option becomes an attribute of the same name, as Haystack expects.
        """
        for name, option in adapter_options().items():
            value = dict(options).get(name, option.default)
            setattr(self, name, dict(value) if isinstance(value, Mapping) else value)
        self.backend = backend
        self.api_base_url = api_base_url
        self.api_key = _check_secret(api_key, "api_key", KEY_VARIABLE)
        self.cache = os.fspath(cache) if isinstance(cache, os.PathLike) else cache
        self.device = _device_names(device)
        self.token = _check_secret(token, "token", "HF_TOKEN")
        self._lazy = LazyModel()
        check_adapter_options(options)
        # The token is read when the model is created.
        known = {name: None if name == "token" else v for name, v in self._all_arguments().items()}
        check_arguments(self._kind, known)

    def _all_arguments(self) -> dict[str, Any]:
        """Return the model class's arguments; of the options, only non-default ones."""
        running = running_arguments(self, "api_base_url", default_key=API_KEY)
        if "backend" in running and self.token == HF_TOKEN:  # the default, which nobody asked for
            running.pop("token", None)
        return {**self._model_arguments(), **running}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if isinstance(self.api_key, TokenSecret):
            state["api_key"] = API_KEY
        if self.headers is not None:
            state["headers"] = plain_headers(self.headers)
        return state

    # Copies are for this process and keep the secrets that pickles leave out.
    def __copy__(self) -> Self:
        return self._copied({**self.__dict__, "_lazy": copy(self._lazy)})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._copied(deepcopy(self.__dict__, memo))

    def _copied(self, state: dict[str, Any]) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(state)
        return copied

    def _make(self, token: Secret | None = None, **arguments: Any) -> M:
        if token is not None:
            arguments["token"] = token.resolve_value()
        made: Any = self._kind(**arguments)
        return made  # type: ignore[no-any-return]  # a class variable cannot name `M`


def arguments_from(model: ModelBase) -> dict[str, Any]:
    """Return the arguments to create a component with an equal model.

    Raises:
        BackendError: The model was closed.
    """
    arguments = arguments_of(model)
    token = arguments.pop("token", None)
    return {**arguments, "token": None if token is None else Secret.from_token(token)}


def check_kind(value: object, kind: type, name: str) -> None:
    """Check that an argument is of the required type.

    Raises:
        InputTypeError: It is of another type.
    """
    if not isinstance(value, kind):
        raise InputTypeError(
            f"`{name}` must be a {kind.__name__}, got {value!r} ({type(value).__name__})."
        )


def _check_secret(given: Secret | None, name: str, variable: str) -> Secret | None:
    """Check that a secret is a `Secret`, so that it does not end up in a file or log."""
    if given is not None and not isinstance(given, Secret):
        raise InputTypeError(
            f"`{name}` must be a Haystack Secret, got {type(given).__name__}. Use "
            f"`Secret.from_env_var('{variable}')`, or `Secret.from_token(...)`."
        )
    return given


def _device_names(device: Device) -> str | list[str] | None:
    """Convert devices, including Haystack's own, to names that can be written to YAML.

    `None` stays `None`; the device is then chosen when the model is loaded.
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
