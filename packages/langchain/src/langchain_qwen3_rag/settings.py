"""The fields that the embeddings and the reranker share, and the model made from them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self

from langchain_core.load.serializable import Serializable
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PrivateAttr,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from qwen3_rag import InputError
from qwen3_rag.backends import BackendSpec
from qwen3_rag.integration import (
    KEY_VARIABLE,
    AdapterOptions,
    Closing,
    LazyModel,
    ModelBase,
    adapter_options,
    check_arguments,
    check_model,
    plain_headers,
    running_arguments,
)

__all__ = ["CheckedSettings", "ModelOptions", "ModelSettings"]


_OWN_PROCEDURE = "prompts, normalisation and batches are the model's; `dim` is a field of its own"

# Hints for field names of other LangChain classes.
_HINTS = {
    "encode_kwargs": _OWN_PROCEDURE,
    "query_encode_kwargs": _OWN_PROCEDURE,
    "batch_size": "batches are limited by tokens, by `batch_tokens`",
    "chunk_size": "batches are limited by tokens, by `batch_tokens`",
    "show_progress": "use `embeddings.embedder.embed_documents(texts, progress=True)`",
    "score_threshold": "it is called `min_score`, and is a field of `Qwen3Rerank`",
    "threshold": "it is called `min_score`, and is a field of `Qwen3Rerank`",
}


class CheckedSettings(Serializable):
    """Rejects unknown fields, and raises the core's own error for a value out of range."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            for detail in error.errors():
                cause = detail.get("ctx", {}).get("error")
                if isinstance(cause, InputError):
                    raise cause from None
            raise

    @model_validator(mode="before")
    @classmethod
    def _find_meant(cls, settings: Any) -> Any:
        """Name the field that a misspelt or foreign one means; pydantic refuses all others."""
        for name in settings if isinstance(settings, dict) else ():
            if name in cls.model_fields:
                continue
            if name in _HINTS:
                raise ValueError(f"There is no field {name!r}: {_HINTS[name]}.")
            if close := get_close_matches(name, cls.model_fields, 1):
                raise ValueError(f"There is no field {name!r}. Did you mean {close[0]!r}?")
        return settings


class TorchDevice(Protocol):
    """The attributes of a `torch.device`, for type checking without PyTorch."""

    @property
    def type(self) -> str: ...

    @property
    def index(self) -> int | None: ...


class ModelOptions(AdapterOptions, total=False):
    """What says how the model is run, including the options with types of LangChain's own."""

    backend: BackendSpec | Mapping[str, Any] | None
    base_url: str | None
    api_key: str | SecretStr | None
    cache: str | os.PathLike[str] | None
    device: str | TorchDevice | Sequence[str | TorchDevice] | None
    token: str | SecretStr | None


def _key_from_environment() -> SecretStr | None:
    value = os.environ.get(KEY_VARIABLE, "").strip()
    return SecretStr(value) if value else None


class ModelFields(CheckedSettings):
    """The arguments of the core's model classes that apply to every backend, and the backend."""

    # Pydantic's errors hide the input values because they may include an access token.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )

    model: str
    """A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder."""

    instruction: str | None = None
    """What queries are for, in one English sentence; documents get no instruction. `None` means the
    checkpoint's own, else Qwen's for web search."""

    max_length: int | None = None
    """Maximum tokens per prompt; longer texts are cut. `None` means 8,192, the checkpoint's own
    limit or the model's context, whichever is least."""

    backend: Annotated[InstanceOf[BackendSpec], WithJsonSchema({"type": "object"})] | None = None
    """Runs the model instead of this process, or its `to_dict()`. The options of the local engine
    then do not apply."""

    base_url: str | None = None
    """Address of a server that runs the model instead of this process. The options of the local
    engine then do not apply, except `revision`, which is any name for the version of the model
    there."""

    api_key: SecretStr | None = Field(
        default_factory=_key_from_environment,
        description="The server's key; defaults to the environment variable `QWEN3_RAG_API_KEY`. "
        "In no pickle and no repr.",
    )

    cache: str | None = None
    """A file that keeps what was computed, for this and other processes; see
    `qwen3_rag.cache`."""

    @field_validator("model", mode="before")
    @classmethod
    def _name_model(cls, model: Any) -> str:
        return check_model(model)

    @field_validator("backend", mode="before")
    @classmethod
    def _read_backend(cls, backend: Any) -> Any:
        return BackendSpec.from_dict(backend) if isinstance(backend, Mapping) else backend

    @field_validator("cache", mode="before")
    @classmethod
    def _name_cache(cls, cache: Any) -> Any:
        return os.fspath(cache) if isinstance(cache, os.PathLike) else cache

    @field_serializer("backend")
    def _write_backend(self, backend: BackendSpec | None) -> dict[str, Any] | None:
        return None if backend is None else backend.to_dict()


if TYPE_CHECKING:

    class RunningFields(ModelFields):
        """The class that `create_model` makes below; constructors are typed with `ModelOptions`."""

        device: str | tuple[str, ...] | None
        token: SecretStr | None

        def __getattr__(self, name: str) -> Any: ...

else:
    _TYPES = {"device": str | tuple[str, ...] | None, "token": SecretStr | None}

    RunningFields = create_model(
        "RunningFields",
        __base__=ModelFields,
        __module__=__name__,
        **{
            name: (
                Annotated[_TYPES.get(name, option.type), BeforeValidator(option.normalize)],
                Field(option.default, description=option.doc, repr=name != "headers"),
            )
            for name, option in adapter_options().items()
        },
    )


class ModelSettings(RunningFields, Closing):
    """The arguments of a core model class as fields, and the model, created at first use.

    Frozen: to change a setting, create another object. That is cheap, since all objects with the
    same checkpoint share its weights.
    """

    _kind: ClassVar[type[ModelBase]]

    _lazy: LazyModel[Any] = PrivateAttr(default_factory=LazyModel)

    def close(self) -> None:
        """Release the model; the next use loads it again."""
        self._lazy.close()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return true: `dumps` and `loads` work."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The secrets that `loads` reads from its `secrets_map` or the environment."""
        return {"token": "HF_TOKEN", "api_key": KEY_VARIABLE}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The fields that `dumps` writes in another form.

        Raises:
            BackendError: You loaded the model yourself, so it cannot be written to a file.
        """
        written: dict[str, Any] = {}
        if self.backend is not None:
            written["backend"] = self.backend.to_dict()
        if self.headers is not None:
            written["headers"] = plain_headers(self.headers)
        return written

    @field_serializer("headers", check_fields=False)
    def _write_headers(self, headers: Mapping[str, str] | None) -> dict[str, str] | None:
        return None if headers is None else plain_headers(headers)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        headers = self._write_headers(self.headers)
        return {**state, "__dict__": {**state["__dict__"], "api_key": None, "headers": headers}}

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._lazy = copy(self._lazy)  # `model_copy` may change what the model was made from
        return copied

    def __setattr__(self, name: str, value: Any) -> None:
        # Pydantic's own error message would show the value.
        secret = name in ("token", "api_key", "headers")
        super().__setattr__(name, "..." if secret else value)

    @abstractmethod
    def _own_arguments(self) -> dict[str, Any]:
        """The arguments of the core's class that apply to every backend."""

    def _arguments(self) -> dict[str, Any]:
        return self._own_arguments() | self._running_arguments()

    def _running_arguments(self) -> dict[str, Any]:
        """The arguments that say how the model is run; defaults are left out."""
        given = running_arguments(self, "base_url")
        if self.token is not None:
            given["token"] = self.token.get_secret_value()
        return given

    def _make(self) -> Any:
        return self._kind(**self._arguments())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.base_url is None and "api_key" not in self.model_fields_set:
            self.__dict__["api_key"] = None  # the environment's, which nobody asked for
        check_arguments(self._kind, self._arguments())
        return self
