"""`Qwen3Component`, the base class of the embedding model and the reranker.

Their settings are fields, from which the core's model is created at first use.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from llama_index.core.schema import BaseComponent
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from qwen3_rag import BackendError, InputError
from qwen3_rag.backends import BackendSpec, Capabilities
from qwen3_rag.integration import (
    KEY_VARIABLE,
    AdapterOptions,
    Closing,
    LazyModel,
    ModelBase,
    adapter_options,
    arguments_of,
    check_arguments,
    local_options,
    plain_headers,
    running_arguments,
)

__all__ = ["ModelName", "ModelOptions", "Qwen3Component"]


def _as_string(path: Any) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


#: A name, or the path of a folder, which is converted to a string.
ModelName = Annotated[str, BeforeValidator(_as_string)]

# Key in `to_dict` of an adapter around a loaded model, for the model's fingerprint.
_GIVEN = "given_model"

# Hints for field names of other LlamaIndex classes.
_HINTS = {
    "api_url": "the address of a server is called `api_base`",
    "base_url": "the address of a server is called `api_base`",
    "default_headers": "they are called `headers`",
    "query_instruction": "it is called `instruction`",
    "text_instruction": "text before documents is given as `document_prefix`",
    "show_progress": "give it to the method, as in "
    "`get_text_embedding_batch(texts, show_progress=True)` or "
    "`VectorStoreIndex.from_documents(documents, show_progress=True)`",
    "similarity_cutoff": "put a `SimilarityPostprocessor(similarity_cutoff=...)` behind it",
    "threshold": "put a `SimilarityPostprocessor(similarity_cutoff=...)` behind it",
}

if TYPE_CHECKING:

    class _WithOptions(BaseComponent):
        """Has a field for each option of how a model is run; constructors declare the types."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _WithOptions = create_model(
        "_WithOptions",
        __base__=BaseComponent,
        **{
            option.name: (
                Annotated[option.type, BeforeValidator(option.normalize)],
                Field(
                    default=option.default, description=option.doc, repr=option.name != "headers"
                ),
            )
            for option in adapter_options().values()
        },
    )


class ModelOptions(AdapterOptions, total=False):
    """What says how the model is run, including the options with types of LlamaIndex's own."""

    backend: BackendSpec | Mapping[str, Any] | None
    api_base: str | None
    api_key: SecretStr | str | None
    cache: str | os.PathLike[str] | None
    device: str | Sequence[str] | None
    token: SecretStr | str | None


class Qwen3Component(_WithOptions, Closing):
    """The settings that both adapters share, under the names of the core's classes."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        hide_input_in_errors=True,  # the input may include a token
        validate_assignment=True,
    )

    #: The core's class.
    model_class: ClassVar[type[ModelBase]]
    #: Name of the field with the model's name.
    model_field: ClassVar[str]
    #: The fields that are arguments of the core's class for every backend.
    own_arguments: ClassVar[tuple[str, ...]]

    instruction: str | None = Field(
        default=None,
        description="What queries are for, in one English sentence; documents get no instruction. "
        "The checkpoint's own, else Qwen's for web search, when None.",
    )
    max_length: int | None = Field(
        default=None, description="Maximum tokens per prompt; the core's default when None."
    )
    token: SecretStr | None = Field(
        default=None,
        description=f"{local_options()['token'].doc} In no dictionary and no repr.",
        exclude=True,
        repr=False,
    )
    backend: BackendSpec | None = Field(
        default=None,
        description="Runs the model instead of this process. A specification or its dictionary; "
        "cannot be combined with options of the local engine.",
    )
    api_base: str | None = Field(
        default=None,
        description="Address of a server that runs the model instead of this process. Of the "
        "options of the local engine, `revision` alone then applies, which is any name for the "
        "version of the model there.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description=f"The server's key; the environment variable `{KEY_VARIABLE}` when None. In no "
        "dictionary, no pickle and no repr.",
        exclude=True,
        repr=False,
    )
    cache: Annotated[str | None, BeforeValidator(_as_string)] = Field(
        default=None,
        description="A file that keeps what was computed, for this and other processes; see "
        "`qwen3_rag.cache`.",
    )

    _model: LazyModel[ModelBase] = PrivateAttr(default_factory=LazyModel)

    if not TYPE_CHECKING:  # for type checkers, subclasses have typed constructors

        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            check_arguments(self.model_class, self._arguments())

    @model_validator(mode="before")
    @classmethod
    def _read_names(cls, data: Any) -> Any:
        """Accept `model_dump`'s class name and the core's name `model`; explain others."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name in data.keys() - cls.model_fields.keys() - {"model", "class_name"}:
            if name in _HINTS:
                raise ValueError(f"{cls.__name__} has no field {name!r}: {_HINTS[name]}.")
            for close in get_close_matches(name, cls.model_fields, 1):
                raise ValueError(f"{cls.__name__} has no field {name!r}. Did you mean {close!r}?")
        if "model" in data and "model" not in cls.model_fields:
            if cls.model_field in data:
                raise ValueError(f"`model` is another name of `{cls.model_field}`. Give one.")
            data[cls.model_field] = data.pop("model")
        if data.get("class_name") == cls.class_name():
            del data["class_name"]
        return data

    @field_validator("backend", mode="before")
    @classmethod
    def _read_backend(cls, backend: Any) -> Any:
        return BackendSpec.from_dict(backend) if isinstance(backend, Mapping) else backend

    @field_serializer("backend")
    def _write_backend(self, backend: BackendSpec | None) -> dict[str, Any] | None:
        return None if backend is None else backend.to_dict()

    @field_serializer("headers", check_fields=False)
    def _write_headers(self, headers: Mapping[str, str] | None) -> dict[str, str] | None:
        return None if headers is None else plain_headers(headers)

    def warm_up(self) -> Capabilities:
        """Load the model now and describe it.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
        """
        return self._open().warm_up()

    async def awarm_up(self) -> Capabilities:
        """Load the model without blocking the event loop; see `warm_up`."""
        return await self._open().awarm_up()

    def close(self) -> None:
        """Release the model; the next use opens it again."""
        self._model.close()

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the settings as plain values, from which `from_dict` makes an equal adapter.

        A model that was passed to `from_model` cannot be in the dictionary. Its fingerprint
        replaces it, so that the ingestion cache can distinguish models, and `from_dict` rejects it.
        """
        try:
            self._write_backend(self.backend)
        except BackendError:
            data = self.model_copy(update={"backend": None}).to_dict(**kwargs)
            return {**data, _GIVEN: self.warm_up().fingerprint}
        return super().to_dict(**kwargs)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make an adapter from the output of `to_dict`; pass `token` and `api_key` here if needed.

        Raises:
            InputError: The dictionary is from an adapter around a model that the caller loaded.
        """
        if _GIVEN in data:
            raise InputError(
                f"This dictionary is of a {cls.__name__} around a model that was already open, "
                "which no dictionary holds. Make it in the same way again, or save the model to a "
                f"folder and name that as `{cls.model_field}`."
            )
        return super().from_dict(data, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        running = ("backend", "api_base", "api_key", "cache", *adapter_options())
        if name not in (self.model_field, *self.own_arguments, *running):
            super().__setattr__(name, value)
            return
        before = getattr(self, name)
        super().__setattr__(name, value)
        try:
            check_arguments(self.model_class, self._arguments())
        except Exception:  # a backend of somebody else's raises what it likes
            self.__dict__[name] = before
            raise
        self._model = LazyModel()

    def __getstate__(self) -> dict[str, Any]:
        # Not BaseComponent's method, which deletes what it cannot pickle from the original object.
        state = BaseModel.__getstate__(self)
        fields = {name: value for name, value in self.__dict__.items() if self._travels(name)}
        fields["headers"] = self._write_headers(self.headers)
        return {**state, "__dict__": fields, "__pydantic_private__": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # as in LlamaIndex; this validates

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._model = LazyModel()  # closing one does not close the other
        return copied

    def _travels(self, name: str) -> bool:
        """Whether a field is pickled: all settings are, and live objects if possible."""
        if name == "api_key":
            return False
        if name == "token" or not type(self).model_fields[name].exclude:
            return True
        try:
            pickle.dumps(self.__dict__[name])
        except Exception:  # a handler or cache client may raise anything
            return False
        return True

    def _open(self) -> ModelBase:
        """Return the core's model for the current settings."""
        # Assigning a field drops the model, but a change inside this dictionary is only seen here.
        return self._model.get_for(self._make, {"model_kwargs": {**(self.model_kwargs or {})}})

    def _make(self, model_kwargs: dict[str, Any]) -> ModelBase:
        return self.model_class(**self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """Return the core class's arguments; of the options, only non-default ones."""
        arguments = {name: getattr(self, name) for name in self.own_arguments}
        arguments |= running_arguments(self, "api_base")
        if self.token is not None:
            arguments["token"] = self.token.get_secret_value()
        return {"model": getattr(self, self.model_field), **arguments}

    @classmethod
    def _around(cls, model: ModelBase, fields: Mapping[str, Any]) -> Self:
        """Make an adapter with a core model's arguments."""
        arguments = arguments_of(model)
        arguments[cls.model_field] = arguments.pop("model")
        return cls(**{**arguments, **fields})
