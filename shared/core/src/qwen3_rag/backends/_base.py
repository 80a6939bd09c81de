"""The interface between the two model classes and whatever runs a model.

Structured prompts go in, futures of numpy arrays come out. Prompts are not rendered yet, because a
server may render them itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from qwen3_rag._prompts import Prompt, SavedPrompts
from qwen3_rag._published import Role
from qwen3_rag._results import FloatArray
from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["UNKNOWN", "WHOLE", "Backend", "BackendSpec", "Capabilities", "Limits", "Output"]

#: In `Output.cut_at`: the text was not cut.
WHOLE = -1

#: In `Output.cut_at`: a server may have cut the text, and does not say.
UNKNOWN = -2


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the tokens of a prompt.

    Attributes:
        max_length: Maximum tokens of the whole prompt. `None` means 8,192, the checkpoint's own
            limit or the model's context, whichever is least.
        max_query_tokens: Maximum tokens of the query; longer queries are cut.
        max_document_tokens: Maximum tokens of the document; longer documents are cut.
    """

    max_length: int | None = None
    max_query_tokens: int | None = None
    max_document_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Properties of a backend, known once it is open.

    Attributes:
        model: Human-readable name, for messages.
        fingerprint: Hash of the model's content, independent of its location. Store it with
            vectors: vectors with the same fingerprint can be compared, even if they were computed
            in different number formats or on different devices. If the content is not known, as
            on most servers, it is `"name:"` and the model's name.
        role: Whether it embeds or reranks.
        dim: Size of a full vector, 0 for a reranker.
        context: Maximum prompt length in tokens.
        counts_tokens: Whether `Output.tokens` is filled.
        prompts: The prompts that the checkpoint was saved with, as far as they are known.
        earlier_fingerprint: The fingerprint of the same content by the rule of an earlier release,
            which may be stored with vectors too.
        variant: What else decides the numbers: the number format, or the address, API and model of
            a server. A cache keeps variants apart. `None` if the specification decides.
        server: API, address and name of a model on a server, for messages; `None` in this process.
    """

    model: str
    fingerprint: str
    role: Role
    dim: int
    context: int
    counts_tokens: bool
    prompts: SavedPrompts = field(default_factory=SavedPrompts)
    earlier_fingerprint: str | None = None
    variant: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a backend computed, in the order of the prompts.

    Attributes:
        values: float32. Vectors `[prompts, dim]`, not necessarily of unit length, or log-odds
            `[prompts]`.
        tokens: Number of tokens read per prompt; `None` if not counted.
        cut_at: Number of characters read of each text or document; `WHOLE` if it was not cut,
            `UNKNOWN` if a server may have cut it without saying so.
        query_cut_at: The same for the query of each pair; always `WHOLE` for an embedder.
    """

    values: FloatArray
    tokens: NDArray[np.int64] | None
    cut_at: NDArray[np.int64]
    query_cut_at: NDArray[np.int64]


@runtime_checkable
class Backend(Protocol):
    """Runs one model. Safe to call from any thread and any event loop."""

    def open(self) -> Future[Capabilities]:
        """Load the model or connect to it, unless that has been done. Never blocks."""
        ...

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Start computing; never blocks. Cancelling the future removes it from the queue.

        Args:
            prompts: The prompts, all for the backend's role.
            limits: Limits on the length of each prompt.
            on_done: Called from time to time, from another thread, with the number of newly
                finished prompts.
        """
        ...

    def close(self) -> None:
        """Release the model; unfinished requests end with `BackendError`. Idempotent."""
        ...


class BackendSpec(ABC):
    """A description of what runs a model; `start` creates the `Backend`.

    Specifications are small values that are compared, copied, pickled and serialised in place of
    the running backend. Subclasses are frozen dataclasses; those whose fields are plain values
    inherit `to_dict` and `from_dict`.
    """

    #: Name of the class in `to_dict`. It must never change, because files contain it.
    kind: ClassVar[str]

    def __init_subclass__(cls, *, kind: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if kind is None:
            # `dataclass(slots=True)` creates the class a second time, from its attributes alone.
            kind = cls.__dict__.get("kind", f"{cls.__module__}.{cls.__qualname__}")
        cls.kind = kind
        other = _KINDS.get(kind, cls)
        if (other.__module__, other.__name__) != (cls.__module__, cls.__name__):
            raise InputError(
                f"The kind {kind!r} of {cls.__name__} belongs to {other.__module__}."
                f"{other.__name__}, and files that name it would be read as the wrong one. Choose "
                "another."
            )
        if cls.kind:  # empty if it cannot be restored from a dictionary
            _KINDS[cls.kind] = cls

    @abstractmethod
    def start(self, model: str, role: Role) -> Backend:
        """Create a backend for a model, without loading or connecting to anything.

        Args:
            model: The model's name, as given by the caller.
            role: Whether the model embeds or reranks.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain values, for JSON and YAML.

        Fields declared with `repr=False`, such as secrets, are left out.

        Raises:
            BackendError: It holds live objects, which cannot be written to a file.
            InputTypeError: The class is not a dataclass and has no `to_dict` of its own.
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
        """Create a specification from the output of `to_dict`.

        Only classes that have been imported are created: data cannot cause an import.

        Raises:
            InputError: The dictionary is invalid, or its class has not been imported.
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
