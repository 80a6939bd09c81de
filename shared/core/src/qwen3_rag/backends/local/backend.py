"""The local backend: the seam's promises on one side, leases and requests on the other.

A handful of settings until it is first used; picklable unless it holds the caller's own model.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from qwen3_rag.backends.base import Capabilities, Limits, Output
from qwen3_rag.backends.local.engine import Engine, Lease, Objects, registry
from qwen3_rag.backends.local.request import Request, settle
from qwen3_rag.backends.local.source import LocalSpec, require_extra
from qwen3_rag.errors import BackendError
from qwen3_rag.inputs import check_count
from qwen3_rag.models import Role
from qwen3_rag.prompts import Prompt

__all__ = ["LocalBackend"]


class HiddenToken(str):
    """A token in a dictionary that may be printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class LocalBackend:
    """Runs one checkpoint in this process, sharing it with every other backend that asks for it."""

    def __init__(self, spec: LocalSpec, objects: Objects | None = None) -> None:
        """Keep the settings; nothing is imported, read or downloaded yet.

        Args:
            spec: What to load and how.
            objects: A model and tokenizer to use instead of loading any.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        for package in ("torch", "transformers"):
            require_extra(package, "local", "Running the models in this process")
        self.spec = spec
        self._objects = objects
        self._lease: Lease | None = None
        self._closed = False

    @classmethod
    def around(
        cls, model: Any, tokenizer: Any, role: Role, batch_tokens: int | None
    ) -> LocalBackend:
        """Run a model that the caller loaded.

        Raises:
            InputError: `batch_tokens` is below one.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        check_count(batch_tokens, "batch_tokens", 1)
        name = str(getattr(getattr(model, "config", None), "_name_or_path", "")) or "your model"
        spec = LocalSpec(name, role, batch_tokens=batch_tokens)
        return cls(spec, Objects(model, tokenizer))

    @property
    def settings(self) -> dict[str, Any] | None:
        """What loads the same model again, as arguments of a door; `None` if nothing does."""
        if self._objects is not None or self._closed:
            return None
        settings = {name: value for name, value in vars(self.spec).items() if name != "role"}
        token = None if self.spec.token is None else HiddenToken(self.spec.token)
        return {**settings, "token": token, "model_kwargs": dict(self.spec.model_kwargs) or None}

    def open(self) -> Future[Capabilities]:
        """Load the model; see `Backend.open`."""
        future: Future[Capabilities] = Future()
        self._claim().use(future, lambda engine: settle(future, engine.capabilities))
        return future

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Compute; see `Backend.run`."""
        request = Request(prompts, limits, on_done)
        lease = self._claim()
        name = self.spec.model  # not `self`: the request must not keep a forgotten door open

        def submit(engine: Engine) -> None:
            if not prompts:
                settle(request.future, _empty(engine))
            elif engine.model is not None:
                lease.registry.scheduler.submit(request, engine.model)
            else:  # closed meanwhile
                settle(request.future, error=BackendError(f"{name!r} was closed."))

        lease.use(request.future, submit)
        return request.future

    def close(self) -> None:
        """Let go of the model; see `Backend.close`."""
        with registry().lock:
            self._closed = True
            lease, self._lease = self._lease, None
            self._objects = None
        if lease is not None and lease.registry is registry():
            lease.close()

    def _claim(self) -> Lease:
        current = registry()
        with current.lock:
            if self._closed:
                raise BackendError(
                    f"{self.spec.model!r} was closed. Open a new Qwen3Embedder or Qwen3Reranker."
                )
            lease = self._lease
            if lease is None or lease.registry is not current:  # first use, or in a forked child
                lease = self._lease = Lease(current, self.spec, self._objects)
                # A finaliser may run inside any lock, so it only leaves a note.
                weakref.finalize(self, current.scheduler.call_soon, lease.close).atexit = False
            return lease

    def __getstate__(self) -> dict[str, Any]:
        if self._objects is not None:
            raise BackendError(
                "A model handed over with `from_model` cannot be pickled or copied. Save it to a "
                "folder and open that instead."
            )
        return {"spec": self.spec, "_objects": None, "_lease": None, "_closed": self._closed}


def _empty(engine: Engine) -> Output:
    dim = engine.capabilities.dim if engine.capabilities else 0
    none = np.zeros(0, dtype=np.int64)
    return Output(np.zeros((0, dim) if dim else 0, dtype=np.float32), none, none, none)
