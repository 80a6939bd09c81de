"""What both doors share: opening, closing, context managers.

Knows the seam; knows nothing of queries and documents.
"""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, TypeVar

from qwen3_rag.backends.base import Backend, Capabilities
from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.models import PublishedModel, Role, published
from qwen3_rag.steps import Steps, run, run_async

__all__ = ["Door", "callers_name"]

SelfDoor = TypeVar("SelfDoor", bound="Door")

#: What opens each role, for messages that send a caller to the right door.
DOORS = {"embedding": "Qwen3Embedder", "reranking": "Qwen3Reranker"}


class Door:
    """A model opened for one role."""

    role: ClassVar[Role]
    model: str
    _backend: Backend

    def warm_up(self) -> Capabilities:
        """Load the model now and tell what it is."""
        return run(self._open())

    async def awarm_up(self) -> Capabilities:
        """Load the model without blocking the event loop."""
        return await run_async(self._open())

    def close(self) -> None:
        """Let go of the model; unfinished calls end with `BackendError`."""
        self._backend.close()

    def __enter__(self: SelfDoor) -> SelfDoor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self: SelfDoor) -> SelfDoor:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    def _published(self, model: str) -> PublishedModel | None:
        """Look a model up, refusing one that is known to be for the other door."""
        record = published(model)
        if record is not None and record.role != self.role:
            raise InputError(_wrong_door(model, record.role))
        return record

    def _open(self) -> Steps[Capabilities]:
        capabilities: Capabilities = yield self._backend.open()
        if capabilities.role != self.role:
            raise ModelError(_wrong_door(capabilities.model, capabilities.role))
        return capabilities


def _wrong_door(model: str, role: Role) -> str:
    kind = {"embedding": "an embedding model", "reranking": "a reranker"}[role]
    return f"{model!r} is {kind}. Open it with {DOORS[role]}."


def callers_name(model: object) -> str:
    """Name a model the caller loaded, for messages."""
    return str(getattr(getattr(model, "config", None), "_name_or_path", "")) or "your model"
