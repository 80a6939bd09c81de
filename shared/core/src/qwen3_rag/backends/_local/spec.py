"""The local engine's specifications: a checkpoint with options, or a model of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NoReturn

from qwen3_rag._inputs import check_count
from qwen3_rag._options import LocalOptions, check_options
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Backend, BackendSpec
from qwen3_rag.backends._checkpoint.hub import Source
from qwen3_rag.errors import BackendError

__all__ = ["CallerModel", "Local", "LocalSpec", "canonical"]


@dataclass(frozen=True)
class Local(BackendSpec, kind="local"):
    """Loads a checkpoint into this process.

    Attributes:
        options: All options of the local engine.
    """

    options: LocalOptions = field(default_factory=lambda: check_options({}), repr=False)

    def start(self, model: str, role: Role) -> Backend:
        from qwen3_rag.backends._local.backend import LocalBackend

        return LocalBackend(LocalSpec(model, role, self.options))

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        defaults: Mapping[str, Any] = check_options({})
        return {
            name: copy(value) for name, value in self.options.items() if value != defaults[name]
        }

    def to_dict(self) -> dict[str, Any]:
        given = self.given()
        given.pop("token", None)
        return {"type": self.kind, **given}

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Local:
        return cls(check_options(fields))


@dataclass(frozen=True, eq=False)
class CallerModel(BackendSpec, kind=""):
    """Runs a model that the caller loaded. Cannot be pickled or written to a file.

    Attributes:
        model: A transformers Qwen3 model.
        tokenizer: Its fast tokenizer.
        batch_tokens: Tokens per batch, or `None` to choose one for the device.
    """

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        check_count(self.batch_tokens, "batch_tokens", 1)

    @property
    def name(self) -> str:
        """The model's name in error messages."""
        return (
            str(getattr(getattr(self.model, "config", None), "_name_or_path", "")) or "your model"
        )

    def start(self, model: str, role: Role) -> Backend:
        from qwen3_rag.backends._local.backend import LocalBackend

        options = check_options({"batch_tokens": self.batch_tokens})
        return LocalBackend(LocalSpec(model, role, options), self)

    def to_dict(self) -> NoReturn:
        self.__reduce__()

    def __copy__(self) -> CallerModel:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CallerModel:
        return self

    def __reduce__(self) -> NoReturn:
        raise BackendError(
            f"{self.name!r} is a model that you loaded, which no pickle or file holds, so it "
            "cannot be sent to worker processes either. Save it to a folder and open that "
            "instead, or make a new object where it is needed."
        )


@dataclass(frozen=True)
class LocalSpec:
    """Which model the local engine runs in which role, and how it is loaded.

    Attributes:
        model: Folder, Hub id or `modelscope:` id.
        role: Whether it embeds or reranks.
        options: All options of the local engine.
    """

    model: str
    role: Role
    options: LocalOptions = field(default_factory=lambda: check_options({}), repr=False)

    @property
    def source(self) -> Source:
        """Where to look for the checkpoint."""
        options = self.options
        return Source(
            self.model,
            self.role,
            revision=options["revision"],
            cache_folder=options["cache_folder"],
            local_files_only=options["local_files_only"],
            token=options["token"],
        )


def canonical(value: Any) -> str:
    """Convert nested values to a string that is equal for equal content."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        items = sorted((repr(key), canonical(item)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {item}' for key, item in items)}}}"
    return repr(value)
