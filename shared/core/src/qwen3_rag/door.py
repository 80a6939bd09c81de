"""What both doors share: opening, closing, context managers, and which settings open them anew.

Knows the seam, and which backend settings can name; knows nothing of queries and documents.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from qwen3_rag.backends.base import Backend, Capabilities
from qwen3_rag.backends.local.backend import LocalBackend
from qwen3_rag.backends.local.source import LocalSpec
from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.inputs import check_device
from qwen3_rag.models import PublishedModel, Role, published
from qwen3_rag.steps import Steps, run, run_async

__all__ = ["Closing", "Door"]

#: What opens each role, for messages that send a caller to the right door.
DOORS = {"embedding": "Qwen3Embedder", "reranking": "Qwen3Reranker"}


class Closing:
    """Closes at the end of a `with` or an `async with`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Door(Closing):
    """A model opened for one role."""

    role: ClassVar[Role]
    model: str
    _backend: Backend

    @property
    def settings(self) -> dict[str, Any] | None:
        """The arguments that open the same model again: `type(door)(**door.settings)`.

        A token is among them, as a string that no repr shows.

        `None` where no arguments bring the model back: it was handed over with `from_model`, a
        backend of your own runs it, the door was closed, or its class is your own.
        """
        if Door not in type(self).__bases__ or not isinstance(self._backend, LocalBackend):
            return None
        loading = self._backend.settings
        return None if loading is None else {**self.own_settings, **loading}

    @property
    @abstractmethod
    def own_settings(self) -> dict[str, Any]:
        """The arguments which count whatever runs the model: all before `revision`."""

    def warm_up(self) -> Capabilities:
        """Load the model now and tell what it is."""
        return run(self._open())

    async def awarm_up(self) -> Capabilities:
        """Load the model without blocking the event loop."""
        return await run_async(self._open())

    def close(self) -> None:
        """Let go of the model; unfinished calls end with `BackendError`."""
        self._backend.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    def _run_by(
        self,
        backend: Backend | None,
        *,
        device: object,
        dtype: object,
        model_kwargs: Mapping[str, Any] | None,
        **loading: Any,
    ) -> Backend:
        """Give the caller's backend, or one that loads the model into this process."""
        if backend is not None:
            return backend
        spec = LocalSpec(
            self.model,
            self.role,
            device=check_device(device),
            dtype=None if dtype is None else str(dtype).removeprefix("torch."),
            model_kwargs=dict(model_kwargs or {}),
            **loading,
        )
        return LocalBackend(spec)

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
