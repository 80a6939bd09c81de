"""The fields that the embeddings and the reranker share, and the model made from them."""

from __future__ import annotations

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
    Closing,
    LazyModel,
    LoadingOptions,
    ModelBase,
    check_arguments,
    check_model,
    given_options,
    local_options,
)

__all__ = ["CheckedSettings", "ModelOptions", "ModelSettings"]


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
        """Name the field that a misspelt one is near to; others are refused by pydantic."""
        for name in settings if isinstance(settings, dict) else ():
            if name in cls.model_fields or name == "encode_kwargs":
                continue  # that one is of HuggingFaceEmbeddings, and no misspelt `model_kwargs`
            if close := get_close_matches(name, cls.model_fields, 1):
                raise ValueError(f"There is no field {name!r}. Did you mean {close[0]!r}?")
        return settings


class TorchDevice(Protocol):
    """The attributes of a `torch.device`, for type checking without PyTorch."""

    @property
    def type(self) -> str: ...

    @property
    def index(self) -> int | None: ...


class ModelOptions(LoadingOptions, total=False):
    """The options of the local engine, including the two for which LangChain has its own types."""

    device: str | TorchDevice | Sequence[str | TorchDevice] | None
    token: str | SecretStr | None


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
    """Runs the model instead of this process, such as a server, or its `to_dict()`. The options of
    the local engine then do not apply."""

    @field_validator("model", mode="before")
    @classmethod
    def _name_model(cls, model: Any) -> str:
        return check_model(model)

    @field_validator("backend", mode="before")
    @classmethod
    def _read_backend(cls, backend: Any) -> Any:
        return BackendSpec.from_dict(backend) if isinstance(backend, Mapping) else backend

    @field_serializer("backend")
    def _write_backend(self, backend: BackendSpec | None) -> dict[str, Any] | None:
        return None if backend is None else backend.to_dict()


if TYPE_CHECKING:

    class LocalFields(ModelFields):
        """The class that `create_model` makes below; constructors are typed with `ModelOptions`."""

        device: str | tuple[str, ...] | None
        token: SecretStr | None

        def __getattr__(self, name: str) -> Any: ...

else:
    _TYPES = {"device": str | tuple[str, ...] | None, "token": SecretStr | None}

    LocalFields = create_model(
        "LocalFields",
        __base__=ModelFields,
        __module__=__name__,
        **{
            name: (
                Annotated[_TYPES.get(name, option.type), BeforeValidator(option.normalize)],
                Field(option.default, description=option.doc),
            )
            for name, option in local_options().items()
        },
    )


class ModelSettings(LocalFields, Closing):
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
        return {"token": "HF_TOKEN"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The fields that `dumps` writes in another form.

        Raises:
            BackendError: You loaded the model yourself, so it cannot be written to a file.
        """
        return {} if self.backend is None else {"backend": self.backend.to_dict()}

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._lazy = copy(self._lazy)  # `model_copy` may change what the model was made from
        return copied

    def __setattr__(self, name: str, value: Any) -> None:
        # Pydantic's own error message would show the value.
        super().__setattr__(name, "..." if name == "token" else value)

    @abstractmethod
    def _own_arguments(self) -> dict[str, Any]:
        """The arguments of the core's class that apply to every backend."""

    def _arguments(self) -> dict[str, Any]:
        arguments = self._own_arguments()
        if self.backend is not None:
            arguments["backend"] = self.backend
        return arguments | self._given_options()

    def _given_options(self) -> dict[str, Any]:
        """The options of the local engine that differ from their defaults."""
        given = given_options(self)
        if self.token is not None:
            given["token"] = self.token.get_secret_value()
        return given

    def _make(self) -> Any:
        return self._kind(**self._arguments())

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_arguments(self._kind, self._arguments())
        return self
