"""The interface between the two model classes and whatever runs a model.

Structured prompts go in, futures of numpy arrays come out. That is the last form which a model in
this process and a server that renders prompts itself have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from qwen3_rag._prompts import Prompt
from qwen3_rag._published import Role
from qwen3_rag._results import FloatArray
from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["WHOLE", "Backend", "BackendSpec", "Capabilities", "Limits", "Output"]

#: In `Output.cut_at`: the text was read whole.
WHOLE = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tokens a prompt may take.

    Attributes:
        max_length: Tokens of the whole prompt. `None` is 8,192 or the model's context, whichever
            is less.
        max_query_tokens: Tokens of the query within it; longer queries are cut.
        max_document_tokens: Tokens of the document within it; longer documents are cut.
    """

    max_length: int | None = None
    max_query_tokens: int | None = None
    max_document_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend turned out to be, known once it is open.

    Attributes:
        model: Name for people and messages.
        fingerprint: Changes when the weights do; equal for equal content wherever it lies. To be
            stored beside vectors: those of one fingerprint can be compared, whatever number
            format and device computed them.
        role: Whether it embeds or reranks.
        dim: Size of a full vector, 0 for a reranker.
        context: Longest prompt in tokens.
        counts_tokens: Whether `Output.tokens` is filled.
    """

    model: str
    fingerprint: str
    role: Role
    dim: int
    context: int
    counts_tokens: bool


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a backend computed, in the order of the prompts.

    Attributes:
        values: float32. Vectors `[prompts, dim]`, of any length, or `[prompts]` log-odds.
        tokens: Tokens read per prompt, `None` where they are not counted.
        cut_at: Characters of the text or document read per prompt, `WHOLE` for all.
        query_cut_at: The same for the query of a pair; all `WHOLE` for an embedder.
    """

    values: FloatArray
    tokens: NDArray[np.int64] | None
    cut_at: NDArray[np.int64]
    query_cut_at: NDArray[np.int64]


@runtime_checkable
class Backend(Protocol):
    """Runs one model. Safe to call from any thread and any event loop."""

    def open(self) -> Future[Capabilities]:
        """Load or reach the model. Cheap when that has been done; never blocks."""
        ...

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Compute; never blocks. Cancelling the future gives up its place in the queue.

        Args:
            prompts: What to compute, all of the backend's role.
            limits: How long each prompt may be.
            on_done: Called with a number of finished prompts now and then, from another thread.
        """
        ...

    def close(self) -> None:
        """Let go of the model; unfinished requests end with `BackendError`. Twice is fine."""
        ...


class BackendSpec(ABC):
    """Says what runs a model, and opens to the `Backend` that does.

    Specifications are small values: they are compared, copied, pickled and written down in place
    of the running backend. Subclasses are frozen dataclasses; those whose fields are plain values
    get `to_dict` and `from_dict` from here.
    """

    #: Names the class in `to_dict`. Never changes, since files hold it.
    kind: ClassVar[str]

    def __init_subclass__(cls, *, kind: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if kind is None:
            # `dataclass(slots=True)` makes the class a second time, of its attributes alone.
            kind = cls.__dict__.get("kind", f"{cls.__module__}.{cls.__qualname__}")
        cls.kind = kind
        other = _KINDS.get(kind, cls)
        if (other.__module__, other.__name__) != (cls.__module__, cls.__name__):
            raise InputError(
                f"The kind {kind!r} of {cls.__name__} belongs to {other.__module__}."
                f"{other.__name__}, and files that name it would be read as the wrong one. Choose "
                "another."
            )
        if cls.kind:  # empty for one that no dictionary can bring back
            _KINDS[cls.kind] = cls

    @abstractmethod
    def start(self, model: str, role: Role) -> Backend:
        """Give a backend for a model. Loads nothing and connects to nothing.

        Args:
            model: As the caller named it.
            role: What the model is to do.
        """

    def to_dict(self) -> dict[str, Any]:
        """Give the specification as plain values, for JSON and YAML.

        Fields declared with `repr=False`, such as secrets, are left out.

        Raises:
            BackendError: It holds live objects, which no file can.
            InputTypeError: The class is no dataclass and has no `to_dict` of its own.
        """
        declared = getattr(type(self), "__dataclass_fields__", None)
        if declared is None:
            raise InputTypeError(
                f"{type(self).__name__} is no dataclass, so what to write down is not known. "
                "Decorate it with `@dataclass(frozen=True)`."
            )
        fields: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # checked above
        shown = {name: value for name, value in fields.items() if declared[name].repr}
        return {"type": self.kind, **shown}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> BackendSpec:
        """Make a specification from what `to_dict` gave.

        Only classes that have been imported are made: data cannot name code to import.

        Raises:
            InputError: Not such a dictionary, or of a class that has not been imported.
        """
        if not isinstance(data, Mapping):
            raise InputTypeError(
                "`backend` must be read from the dictionary that `to_dict` gave, got "
                f"{type(data).__name__}."
            )
        fields = dict(data)
        kind = fields.pop("type", None)
        found = _KINDS.get(kind) if isinstance(kind, str) else None
        if found is None:
            raise InputError(
                f"`backend` is of the type {kind!r}; known are {', '.join(sorted(_KINDS))}. "
                "Import the module that defines it before this is read."
            )
        try:
            return found._from_fields(fields)
        except (TypeError, ValueError) as error:
            reason = str(error).removesuffix(".")
            raise InputError(f"The backend {kind!r} cannot be read: {reason}.") from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> BackendSpec:
        return cls(**fields)


_KINDS: dict[str, type[BackendSpec]] = {}
