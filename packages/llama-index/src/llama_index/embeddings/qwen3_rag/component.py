"""What both models' adapters are: settings as declared fields, and the core's door made of them.

Knows validation, copies, pickles and closing; knows nothing of nodes. Holds no weights: they are
the core's, one copy per process for all adapters of a checkpoint.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from llama_index.core.schema import BaseComponent
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from qwen3_rag import DEFAULT_INSTRUCTION, InputError
from qwen3_rag._lazy import LazyDoor, check_settings, settings_of
from qwen3_rag.backends import Capabilities
from qwen3_rag.integration import Closing, check_device

__all__ = ["ModelName", "Qwen3Component"]

#: A name, or a folder's path, which becomes a string.
ModelName = Annotated[
    str, BeforeValidator(lambda name: os.fspath(name) if isinstance(name, os.PathLike) else name)
]

# In the dictionary of an adapter around a model of the caller's: what it cannot bring back.
_GIVEN = "given_model"


class Qwen3Component(BaseComponent, Closing):
    """The settings both adapters share, under the names of the core's doors."""

    # Inputs stay out of errors, since a token may be among them.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    door_class: ClassVar[type[Door]]
    model_field: ClassVar[str]

    instruction: str = Field(
        default=DEFAULT_INSTRUCTION,
        description="What queries are for, one English sentence; documents never get it.",
    )
    max_length: int | None = Field(
        default=None, description="Tokens per prompt; the core's default when None."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit.")
    device: str | Sequence[str] | None = Field(
        default=None, description="A torch device, or several to share the work."
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="Number format of the weights; suits the device when None."
    )
    attention: Literal["sdpa", "eager"] | None = Field(
        default=None, description="Torch's fused kernel, or plain products."
    )
    batch_tokens: int | None = Field(
        default=None, description="Tokens per batch; suits the device when None."
    )
    compile: bool = Field(
        default=False,
        description="Whether torch compiles parts of the model, ten seconds at the first load.",
    )
    cache_folder: str | None = Field(default=None, description="Where downloads are kept.")
    local_files_only: bool = Field(default=False, description="Whether to do without the network.")
    token: SecretStr | None = Field(
        default=None,
        description="Access token for private repositories; in no dictionary and no repr.",
        exclude=True,
        repr=False,
    )
    model_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of transformers' `from_pretrained`."
    )

    _door: LazyDoor[Door] = PrivateAttr(default_factory=LazyDoor)

    if not TYPE_CHECKING:  # where pydantic's own signature, with the fields' types, is the better

        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            check_settings(self.door_class, self._settings())

    @model_validator(mode="before")
    @classmethod
    def _accept_own_dictionary(cls, data: Any) -> Any:
        """Let `model_validate` read what `model_dump` wrote, although unknown names are refused."""
        if isinstance(data, dict) and data.get("class_name") == cls.class_name():
            return {name: value for name, value in data.items() if name != "class_name"}
        return data

    @field_validator("device", mode="before")
    @classmethod
    def _name_device(cls, device: Any) -> str | tuple[str, ...] | None:
        return check_device(device)

    @field_validator("dtype", mode="before")
    @classmethod
    def _name_dtype(cls, dtype: Any) -> str | None:
        return None if dtype is None else str(dtype).removeprefix("torch.")

    def warm_up(self) -> Capabilities:
        """Load the model now and tell what it is.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
        """
        return self._open().warm_up()

    async def awarm_up(self) -> Capabilities:
        """Load the model without blocking the event loop; see `warm_up`."""
        return await self._open().awarm_up()

    def close(self) -> None:
        """Let go of the model; the next use opens it again. A door that you gave stays open."""
        self._door.close()

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Give the settings as a dictionary; `from_dict` makes an equal adapter of it.

        Around a model of yours it names the content too, by which the ingestion cache keeps models
        apart, and `from_dict` refuses it.
        """
        data = super().to_dict(**kwargs)
        if self._door.given is not None:
            data[_GIVEN] = self.warm_up().fingerprint
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make an adapter of `to_dict`'s dictionary; `token` is not in it and may be given here.

        Raises:
            InputError: It is of an adapter around a model of the caller's, which is not in it.
        """
        if _GIVEN in data:
            raise InputError(
                f"This dictionary is of a {cls.__name__} around a model that was already open, "
                "which no dictionary holds. Make it in the same way again, or save the model to a "
                f"folder and name that as `{cls.model_field}`."
            )
        return super().from_dict(data, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        self._door.refuse_if_given()
        # Not BaseComponent's, which deletes what it cannot pickle from the object that lives on.
        state = BaseModel.__getstate__(self)
        fields = {name: value for name, value in self.__dict__.items() if self._travels(name)}
        return {**state, "__dict__": fields, "__pydantic_private__": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # LlamaIndex's way; it validates

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._door = copy(self._door)  # closing one leaves the other
        return copied

    def _travels(self, name: str) -> bool:
        """Tell whether a field goes into a pickle: all settings, live objects where they can."""
        if name == "token" or not type(self).model_fields[name].exclude:
            return True
        try:
            pickle.dumps(self.__dict__[name])
        except Exception:  # whatever a handler or a cache's client raises
            return False
        return True

    def _open(self) -> Door:
        """The core's door for the present settings."""
        return self._door.open(self.door_class, self._settings())

    def _settings(self) -> dict[str, Any]:
        """The arguments of the core's door, from all fields it has a parameter for."""
        return {
            **settings_of(self, self.door_class),
            "model": getattr(self, self.model_field),
            "token": self.token.get_secret_value() if self.token else None,
            "model_kwargs": dict(self.model_kwargs),  # a change in place shows, too
        }

    @classmethod
    def _around(cls, door: Door, fields: dict[str, Any]) -> Self:
        """Take over a door's settings, and the door itself where they do not bring it back."""
        settings = door.settings
        named = dict(settings or door.own_settings)
        named[cls.model_field] = named.pop("model")
        named["model_kwargs"] = named.get("model_kwargs") or {}
        adapter = cls(**named, **fields)
        if settings is None:
            adapter._door = LazyDoor(door, adapter._settings())
        return adapter
