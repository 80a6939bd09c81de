"""The base class of the embedder and the reranker: their backend, opening and closing."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from qwen3_rag._flow import Flow, run, run_async
from qwen3_rag._options import check_names, check_options, local_options
from qwen3_rag._published import PublishedModel, Role, published
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Backend, BackendSpec, Capabilities, Limits, Output
from qwen3_rag.backends._local.spec import Local
from qwen3_rag.cache import Cached
from qwen3_rag.errors import BackendError, InputError, InputTypeError, ModelError

__all__ = ["Closing", "ModelBase", "arguments_of", "backend_of", "check_finite", "log_cuts"]

logger = logging.getLogger("qwen3_rag")

#: The class for each role, for error messages.
CLASSES = {"embedding": "Qwen3Embedder", "reranking": "Qwen3Reranker"}


class Closing:
    """Closes at the end of a `with` or `async with` block."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources."""

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


class ModelBase(Closing):
    """A model in one role, run by a backend.

    Attributes:
        model: The model's name, as given by the caller.
    """

    role: ClassVar[Role]
    model: str
    _spec: BackendSpec | None
    _cache: str | None
    _backend: Backend
    _capabilities: Capabilities | None

    def warm_up(self) -> Capabilities:
        """Load the model now and describe it.

        Raises:
            InputError: `dim` is out of range for the model.
            ModelError: The checkpoint is missing or broken, or the model has another role.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._open())

    async def awarm_up(self) -> Capabilities:
        """Load the model without blocking the event loop; see `warm_up`."""
        return await run_async(self._open())

    def close(self) -> None:
        """Release the model; unfinished calls end with `BackendError`."""
        self._spec = None
        self._backend.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    @abstractmethod
    def _own_arguments(self) -> dict[str, Any]:
        """The constructor's arguments that apply to every backend."""

    def _start(
        self,
        backend: BackendSpec | None,
        cache: str | os.PathLike[str] | None,
        options: Mapping[str, Any],
    ) -> None:
        """Start the caller's backend, or the local engine with the caller's options."""
        check_names(options, local_options())
        if backend is None:
            backend = Local(check_options(options))
        elif not isinstance(backend, BackendSpec):
            raise InputTypeError(
                f"`backend` must be a `BackendSpec`, got {type(backend).__name__}. Omit it to run "
                "the model in this process."
            )
        elif options:
            names = ", ".join(f"`{name}`" for name in options)
            raise InputError(
                f"{names} cannot be combined with `backend` {backend!r}: options like this are for "
                "the local engine. Leave out one or the other."
            )
        runs = backend if cache is None else Cached(backend, cache)
        self._spec = backend
        self._cache = None if cache is None else os.fspath(cache)
        self._capabilities = None
        self._backend = runs.start(self.model, self.role)

    def _published(self, model: str) -> PublishedModel | None:
        """Look up a published model; reject it if it has the other role."""
        record = published(model)
        if record is not None and record.role != self.role:
            raise InputError(_wrong_role(model, record.role))
        return record

    def _open(self) -> Flow[Capabilities]:
        capabilities: Capabilities = yield self._backend.open()
        if capabilities.role != self.role:
            raise ModelError(_wrong_role(capabilities.model, capabilities.role))
        self._check(capabilities)
        self._capabilities = capabilities  # only now, or the next call would skip the checks
        return capabilities

    def _check(self, capabilities: Capabilities) -> None:
        """Check the caller's arguments against the model."""


def log_cuts(output: Output, limits: Limits, what: str) -> None:
    """Log once that texts were cut, for callers that asked for no details.

    Args:
        output: What was computed.
        limits: Those of the caller, who expects cuts if there are any.
        what: What the results are of, in the plural.
    """
    cut = (output.cut_at >= 0) | (output.query_cut_at >= 0)
    if cut.any():
        logger.log(
            logging.WARNING if limits == Limits() else logging.INFO,
            "%d of %d %s were too long and were cut, the first of them number %d, counted from 0. "
            "`cut_at`, which `details=True` returns, tells where.",
            *(int(cut.sum()), len(cut), what, int(cut.argmax())),
        )


def check_finite(values: FloatArray) -> FloatArray:
    """Check a backend's numbers, one or a row for each text, and return them.

    Raises:
        ModelError: There is NaN or infinity.
    """
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        raise ModelError(
            f"The model gave NaN or infinity for text {int(finite.argmin())}. The checkpoint is "
            "damaged, or the backend computes in a number format that is too small for it."
        )
    return values


def arguments_of(model: ModelBase) -> dict[str, Any]:
    """Return the arguments to create an equal model: `type(model)(**arguments_of(model))`.

    They contain either options of the local engine, including the access token, or a `backend`.

    Raises:
        BackendError: The model was closed.
    """
    spec = model._spec
    if spec is None:
        raise BackendError(f"{model!r} was closed. Open a new {type(model).__name__}.")
    runs = spec.given() if isinstance(spec, Local) else {"backend": spec}
    cached = {} if model._cache is None else {"cache": model._cache}
    return {**model._own_arguments(), **runs, **cached}


def backend_of(model: ModelBase) -> Backend:
    """Return what runs a model, with its cache: for servers, whose clients make the prompts."""
    return model._backend


def _wrong_role(model: str, role: Role) -> str:
    kind = {"embedding": "an embedding model", "reranking": "a reranker"}[role]
    return f"{model!r} is {kind}. Open it with {CLASSES[role]}."
