"""The models of this process, each loaded once for all backends that use it."""

from __future__ import annotations

import atexit
import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from qwen3_rag.backends._checkpoint.hub import resolve
from qwen3_rag.backends._forks import imports
from qwen3_rag.backends._futures import settle, typed_error
from qwen3_rag.backends._local.serving.loaded import LoadedModel
from qwen3_rag.backends._local.serving.scheduler import Scheduler
from qwen3_rag.backends._local.spec import CallerModel, LocalSpec

if TYPE_CHECKING:
    from qwen3_rag.backends._local.loading.loader import Loader

__all__ = ["OPENING_FAILED", "ModelPool", "pool"]

#: How long interpreter exit waits for a batch that is being computed.
EXIT_WAIT_SECONDS = 10.0

OPENING_FAILED = "The model could not be opened"


class ModelPool:
    """Loads models and shares them between backends with the same key."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scheduler = Scheduler()
        self._models: dict[object, LoadedModel] = {}

    def __len__(self) -> int:
        return len(self._models)

    def acquire(self, spec: LocalSpec, caller: CallerModel | None) -> LoadedModel:
        """Find a model or start loading it; the caller must release it after use.

        Blocks while a checkpoint is downloaded.
        """
        # Before torch is imported, which takes seconds: a wrong name is answered at once.
        source = resolve(spec.source) if caller is None else caller
        with imports:  # of torch
            from qwen3_rag.backends._local.loading.loader import loader_for
        loader = loader_for(spec, source)
        with self.lock:
            model = self._models.get(loader.key)
            found = model is not None
            if model is None:
                model = LoadedModel(loader.key, spec.model, loader.devices, loader.budget)
                self._models[loader.key] = model
            model.users += 1
        if not found:
            try:
                model.tokenizer = loader.read_tokenizer()
                self._load(model, loader)
            except BaseException as error:  # a panic in the tokenizer is not an Exception
                self._failed(model, error)
        return model

    def release(self, model: LoadedModel) -> None:
        """Stop using a model; after the last user, its weights are freed."""
        with self.lock:
            model.users -= 1
            if model.users or model.gone:
                return
            self._forget(model)
        self._unload(model)

    def _load(self, model: LoadedModel, loader: Loader) -> None:
        """Load the weights onto each device, on that device's thread."""
        left = list(model.devices)

        def job(device: str) -> None:
            if model.loaded.done():
                return
            try:
                # While it loads, transformers changes torch's default dtype and its own verbosity
                # for the whole process, which two threads must not do at once.
                with _loading:
                    forward, capabilities = loader.load(device)
            except BaseException as error:  # of any kind, because callers are waiting
                self._failed(model, error)
                return
            with self.lock:
                abandoned = model.users == 0
                if not abandoned:
                    model.forwards[device] = forward
                    model.context = capabilities.context
                    model.capabilities = capabilities
                left.remove(device)
            if not left and not abandoned:
                settle(model.loaded)

        self.scheduler.add(model)
        for device in model.devices:
            self.scheduler.post(device, partial(job, device))

    def _failed(self, model: LoadedModel, error: BaseException) -> None:
        with self.lock:
            if not model.gone:
                self._forget(model)
        self._unload(model)
        settle(model.loaded, error=typed_error(error, OPENING_FAILED))

    def _forget(self, model: LoadedModel) -> None:
        """Make the next `acquire` load the model again. The caller holds the lock."""
        model.gone = True
        del self._models[model.key]

    def _unload(self, model: LoadedModel) -> None:
        """Free the weights, on the devices' threads."""
        from qwen3_rag.backends._local.device import empty_cache

        def job(device: str) -> None:
            model.forwards.pop(device, None)
            empty_cache(device)

        for device in model.devices:
            self.scheduler.post(device, partial(job, device))
        self.scheduler.remove(model)


_pool = ModelPool()
_loading = threading.Lock()


def pool() -> ModelPool:
    """Return the pool of this process; a forked child has its own."""
    return _pool


def _after_fork() -> None:
    # In a child, the parent's threads do not exist, and locks that they hold are never released.
    global _pool, _loading
    _pool, _loading = ModelPool(), threading.Lock()


atexit.register(lambda: pool().scheduler.stop(EXIT_WAIT_SECONDS))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
