"""The models of one process: each is in memory once, whoever uses it."""

from __future__ import annotations

import atexit
import os
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING

from qwen3_rag.backends._local.serving.loaded import LoadedModel
from qwen3_rag.backends._local.serving.request import settle
from qwen3_rag.backends._local.serving.scheduler import Scheduler
from qwen3_rag.backends._local.spec import CallerModel, LocalSpec
from qwen3_rag.errors import BackendError, Qwen3RagError

if TYPE_CHECKING:
    from qwen3_rag.backends._local.checkpoint.loader import Loader

__all__ = ["ModelPool", "pool", "typed_error"]

# How many seconds an interpreter that ends waits for a batch under way.
EXIT_WAIT_SECONDS = 10.0


class ModelPool:
    """Loads models and shares them between all who ask for the same."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scheduler = Scheduler()
        self._models: dict[object, LoadedModel] = {}

    def __len__(self) -> int:
        return len(self._models)

    def acquire(self, spec: LocalSpec, caller: CallerModel | None) -> LoadedModel:
        """Find a model or start loading it; takes as long as a download. Release it after use."""
        with _imports:
            # The heavy imports, under a lock that forks wait for: a child born in the middle of
            # an import would wait for the module's lock for ever.
            from qwen3_rag.backends._local.checkpoint.loader import loader_for
        loader = loader_for(spec, caller)
        with self.lock:
            model = self._models.get(loader.key)
            found = model is not None
            if model is None:
                model = LoadedModel(loader.key, spec.model, loader.devices, loader.budget)
                self._models[loader.key] = model
            model.users += 1
        if not found:
            try:
                model.tokenizer = loader.tokenizer
                self._load(model, loader)
            except BaseException as error:  # a panic in the tokenizer is not an Exception
                self._failed(model, error)
        return model

    def release(self, model: LoadedModel) -> None:
        """Give a model back; the last user frees its weights."""
        with self.lock:
            model.users -= 1
            if model.users or self._models.get(model.key) is not model:
                return
        self._remove(model)

    def _load(self, model: LoadedModel, loader: Loader) -> None:
        """Have each device's thread load its replica."""
        left = list(model.devices)

        def job(device: str) -> None:
            if model.loaded.done():
                return
            try:
                # Transformers changes torch's default dtype and its own verbosity while it loads,
                # for the whole process: two devices' threads must not do so at once.
                with _loading:
                    forward, capabilities = loader.load(device)
            except BaseException as error:  # whatever it is, somebody waits
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
        self._remove(model)
        settle(model.loaded, error=typed_error(error))

    def _remove(self, model: LoadedModel) -> None:
        with self.lock:
            if self._models.get(model.key) is model:
                del self._models[model.key]
            model.gone = True
        for device in model.devices:
            self.scheduler.post(device, partial(_unload, model, device))
        self.scheduler.remove(model)


def _unload(model: LoadedModel, device: str) -> None:
    """Free a replica; runs on the device's thread."""
    from qwen3_rag.backends._local.device import empty_cache

    model.forwards.pop(device, None)
    empty_cache(device)


def typed_error(error: BaseException) -> Qwen3RagError:
    """Turn whatever opening a model raised into an error of this project."""
    if isinstance(error, Qwen3RagError):
        return error
    # A caller may keep the error for long; what was loaded so far must not stay with it.
    traceback.clear_frames(error.__traceback__)
    typed = BackendError(f"The model could not be opened: {type(error).__name__}: {error}")
    typed.__cause__ = error
    return typed


# ---------------------------------------------------------------------- the process's pool

_pool = ModelPool()
_imports = threading.RLock()
_loading = threading.Lock()


def pool() -> ModelPool:
    """Give the pool of this process; a forked child has one of its own."""
    return _pool


def _after_fork() -> None:
    # The parent's threads do not exist here, and its locks may be held by them for ever. Torch
    # works in threads that are new.
    global _pool, _loading
    _pool, _loading = ModelPool(), threading.Lock()
    _imports.release()


atexit.register(lambda: pool().scheduler.stop(EXIT_WAIT_SECONDS))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_imports.acquire, after_in_parent=_imports.release, after_in_child=_after_fork
    )
