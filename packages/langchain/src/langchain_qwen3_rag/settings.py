"""What the embeddings and the reranker share: declared settings, and a core door made from them.

Knows pydantic and LangChain's serialisation; knows nothing of queries and documents.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import fields
from threading import Lock
from typing import Any, Generic, Literal, Self, TypeVar, cast

from langchain_core.load.serializable import (
    Serializable,
    SerializedConstructor,
    SerializedNotImplemented,
)
from pydantic import (
    ConfigDict,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from qwen3_rag import DEFAULT_INSTRUCTION, BackendError, InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends.base import Backend
from qwen3_rag.backends.local.backend import LocalBackend
from qwen3_rag.door import Door
from qwen3_rag.inputs import check_device, check_model

__all__ = ["CheckedSettings", "DoorSettings", "LazyDoor", "local_settings"]

D = TypeVar("D", bound=Door)

# Lets a door check its settings without asking whether torch is there. Never opened.
_NO_BACKEND = cast(Backend, object())


class CheckedSettings(Serializable):
    """Refuses unknown fields, and raises the core's own error for a value out of range."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    def __init__(self, *args: Any, **settings: Any) -> None:
        try:
            super().__init__(*args, **settings)
        except ValidationError as error:
            for detail in error.errors():
                cause = detail.get("ctx", {}).get("error")
                if isinstance(cause, InputError):
                    raise cause from None
            raise


class DoorSettings(CheckedSettings):
    """The settings of a door as fields of the same names, and the door, made at first use.

    Fixed once made: another setting is another object, which costs nothing, since all objects on
    one checkpoint share its weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    """A Hugging Face id, `modelscope:` and an id, `"tiny"`, or the folder of a checkpoint."""

    instruction: str = DEFAULT_INSTRUCTION
    """What queries are for, one English sentence; documents never get it."""

    max_length: int | None = None
    """Tokens per prompt; longer texts are cut. 8,192 or the model's context, whichever is less,
    when `None`."""

    revision: str | None = None
    """Branch, tag or commit. Published models default to a pinned commit."""

    device: str | tuple[str, ...] | None = None
    """A torch device, or several to share the work. CUDA, then MPS, then the CPU when `None`."""

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the weights. What suits the device when `None`."""

    attention: Literal["sdpa", "eager"] | None = None
    """torch's fused kernel, which is the default, or plain products."""

    batch_tokens: int | None = None
    """Tokens per batch. What suits the device when `None`."""

    compile: bool = False
    """Whether torch compiles the model, which takes a C++ compiler and half a minute at the first
    load."""

    cache_folder: str | None = None
    """Where downloads are kept."""

    local_files_only: bool = False
    """Whether to do without the network."""

    token: SecretStr | None = None
    """Access token for private repositories. Left out when serialised, as LangChain does."""

    model_kwargs: dict[str, Any] | None = None
    """Further arguments of transformers' `from_pretrained`."""

    _door: LazyDoor[Any] = PrivateAttr(default_factory=lambda: LazyDoor())

    @abstractmethod
    def _make(self, backend: Backend | None = None) -> Qwen3Embedder | Qwen3Reranker:
        """Make the door; one with a backend checks the settings and asks for no torch."""

    def close(self) -> None:
        """Let go of the model; the next use loads it again. A door that you gave stays open."""
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell LangChain that `dumps` and `loads` work."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """What `loads` looks for in its `secrets_map` or the environment."""
        return {"token": "HF_TOKEN"}

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Give the settings as LangChain's `dumps` writes them.

        Raises:
            BackendError: The model is one that you opened, and no setting says where it is.
        """
        self._door.refuse_if_given()
        return super().to_json()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._door = copy(self._door)  # `model_copy` may change settings the door was made of
        return copied

    def _door_settings(self) -> dict[str, Any]:
        """The fields as the door's own arguments, where an adapter adds none of its own."""
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        token = self.token and self.token.get_secret_value()
        return {**settings, "token": token}

    @field_validator("model", mode="before")
    @classmethod
    def _name_model(cls, model: Any) -> str:
        return check_model(model)

    @field_validator("device", mode="before")
    @classmethod
    def _name_device(cls, device: Any) -> str | tuple[str, ...] | None:
        return check_device(device)

    @field_validator("dtype", mode="before")
    @classmethod
    def _name_dtype(cls, dtype: Any) -> str | None:
        return None if dtype is None else str(dtype).removeprefix("torch.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._make(_NO_BACKEND)
        return self


class LazyDoor(Generic[D]):
    """A door made when it is first asked for, or one that the caller opened.

    Copies and pickles leave the made one behind, and its weights with it.
    """

    def __init__(self, given: D | None = None) -> None:
        """Hold the caller's door, if there is one."""
        self.given = given
        self._made: D | None = None
        self._lock = Lock()

    def open(self, make: Callable[[], D]) -> D:
        """Give the one door, from whichever thread."""
        if self.given is not None:
            return self.given
        with self._lock:
            if self._made is None:
                self._made = make()
            return self._made

    def close(self) -> None:
        """Close what was made here."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def refuse_if_given(self) -> None:
        """Raise `BackendError` where no settings can bring the door back."""
        if self.given is not None:
            raise BackendError(
                f"This adapter was made from {self.given!r}, which runs a model that you opened: "
                "its settings alone cannot bring it back. Save the model to a folder and give "
                "that as `model`, or make the adapter anew where it is needed."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyDoor) and self.given is other.given

    __hash__ = None  # type: ignore[assignment]  # the way to say so

    def __copy__(self) -> LazyDoor[D]:
        return LazyDoor(self.given)

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyDoor[D]:
        return LazyDoor(self.given)

    def __reduce__(self) -> Any:
        self.refuse_if_given()
        return LazyDoor, ()


def local_settings(door: Qwen3Embedder | Qwen3Reranker) -> dict[str, Any] | None:
    """Read what a door was opened with; `None` where that does not bring its model back."""
    backend = door._backend
    if type(door) not in (Qwen3Embedder, Qwen3Reranker) or not isinstance(backend, LocalBackend):
        return None
    if backend._objects is not None or backend._closed:
        return None
    spec = backend.spec
    names = {field.name for field in fields(spec)} - {"model", "role"}
    settings = {name: getattr(spec, name) for name in names}
    return {**settings, "model_kwargs": spec.model_kwargs or None}
