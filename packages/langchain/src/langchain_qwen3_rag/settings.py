"""What the embeddings and the reranker share: declared settings, and a core door made from them.

Knows pydantic and LangChain's serialisation; knows nothing of queries and documents.
"""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar, Literal, Self

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

from qwen3_rag import DEFAULT_INSTRUCTION, InputError
from qwen3_rag._lazy import LazyDoor, check_settings, settings_of
from qwen3_rag.integration import Closing, check_device, check_model

__all__ = ["CheckedSettings", "DoorSettings"]


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


class DoorSettings(CheckedSettings, Closing):
    """The settings of a door as fields of the same names, and the door, made at first use.

    Fixed once made: another setting is another object, which costs nothing, since all objects on
    one checkpoint share its weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    _kind: ClassVar[type[Door]]

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
    """Whether torch compiles parts of the model, which takes a C++ compiler and ten seconds at the
    first load."""

    cache_folder: str | None = None
    """Where downloads are kept."""

    local_files_only: bool = False
    """Whether to do without the network."""

    token: SecretStr | None = None
    """Access token for private repositories. Left out when serialised, as LangChain does."""

    model_kwargs: dict[str, Any] | None = None
    """Further arguments of transformers' `from_pretrained`."""

    _door: LazyDoor[Any] = PrivateAttr(default_factory=LazyDoor)

    def close(self) -> None:
        """Let go of the model; the next use loads it again. A door that you gave stays open."""
        self._door.close()

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

    @classmethod
    def _around(cls, door: Door, **fields: Any) -> Self:
        """Take over a door's settings, and the door itself where they do not bring it back."""
        settings = door.settings
        adapter = cls(**{**(settings or door.own_settings), **fields})
        if settings is None:
            adapter._door = LazyDoor(door)
        return adapter

    def _open(self) -> Any:
        """The core's door."""
        return self._door.open(self._kind, self._settings())

    def _settings(self) -> dict[str, Any]:
        """The arguments of the core's door."""
        token = self.token and self.token.get_secret_value()
        return {**settings_of(self, self._kind), "token": token}

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
        check_settings(self._kind, self._settings())
        return self
