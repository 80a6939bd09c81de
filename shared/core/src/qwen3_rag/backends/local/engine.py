"""Who shares what: one copy of a model per process, leased to every door that asks for it.

Knows leases, forks and closing; the work is the scheduler's, torch is loading's and forward's.
"""

from __future__ import annotations

import atexit
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qwen3_rag.backends.base import Capabilities
from qwen3_rag.backends.local.request import Model, settle
from qwen3_rag.backends.local.scheduler import Scheduler
from qwen3_rag.backends.local.source import TINY, LocalSpec, Source, check_layout, resolve
from qwen3_rag.errors import BackendError, InputError, InputTypeError, Qwen3RagError
from qwen3_rag.models import CONTEXT

__all__ = ["Lease", "Objects", "Registry", "registry"]

# How long an interpreter that ends waits for a batch under way.
EXIT_PATIENCE = 10.0

ATTENTIONS = ("sdpa", "eager")


@dataclass(frozen=True, eq=False)
class Objects:
    """A model and tokenizer that the caller loaded."""

    model: Any
    tokenizer: Any


@dataclass(eq=False)
class Engine:
    """A model in memory, or on its way there."""

    key: object
    loaded: Future[None] = field(default_factory=Future)
    leases: int = 0
    model: Model | None = None
    capabilities: Capabilities | None = None


class Registry:
    """The engines of one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scheduler = Scheduler()
        self._engines: dict[object, Engine] = {}

    def acquire(self, spec: LocalSpec, objects: Objects | None) -> Engine:
        """Find or start loading a model; takes as long as a download. Release it after use."""
        with _imports:
            # The heavy imports, under a lock that forks wait for: a child born in the middle of
            # one would wait for ever on the module's lock.
            from qwen3_rag.backends.local import device, forward, loading, tokens
        del forward, loading
        source: Source | None = None
        if objects is None:
            source = resolve(spec)
            config = check_layout(source, spec.role)
            devices = device.choose_devices(spec.device)
            dtype = device.choose_dtype(
                spec.dtype or ("float32" if spec.model == TINY else None),
                devices[0],
                hidden_size=int(config.get("hidden_size", 0)),
            )
            attention = spec.attention or ATTENTIONS[0]
            if attention not in ATTENTIONS:
                raise InputError(
                    f"`attention` must be one of {', '.join(ATTENTIONS)}, got {attention!r}."
                )
            key: object = (
                spec.role,
                source.fingerprint,
                devices,
                dtype,
                attention,
                spec.compile,
                spec.canonical_kwargs,
                spec.batch_tokens,
            )
        else:
            if not hasattr(objects.model, "device"):
                raise InputTypeError(
                    "`model` must be a transformers Qwen3 model, got "
                    f"{type(objects.model).__name__}. Load it with AutoModel or "
                    "AutoModelForCausalLM."
                )
            devices = (str(objects.model.device),)
            key = (spec.role, id(objects.model), id(objects.tokenizer), spec.batch_tokens)
        with self.lock:
            engine = self._engines.get(key)
            started = engine is not None
            if engine is None:
                engine = self._engines[key] = Engine(key)
            engine.leases += 1
        if started:
            return engine
        try:
            if source is not None:
                encoder = tokens.Tokens.from_folder(source.folder, spec.role, name=source.name)
                load = partial(_load, spec, source, encoder, attention=attention, dtype=dtype)
            else:
                assert objects is not None
                encoder = _callers_tokens(objects.tokenizer, spec)
                load = partial(_wrap, spec, objects, encoder)
            self._load(engine, spec, encoder, devices, load)
        except BaseException as error:  # a panic in the tokenizer is not an Exception
            self._failed(engine, error)
        return engine

    def _load(
        self,
        engine: Engine,
        spec: LocalSpec,
        tokens: Any,
        devices: tuple[str, ...],
        load: Callable[[str], tuple[Any, Capabilities]],
    ) -> None:
        """Have each device's thread load its replica."""
        from qwen3_rag.backends.local.device import default_budget

        model = Model(
            name=spec.model,
            tokens=tokens,
            context=0,
            budget=spec.batch_tokens or default_budget(devices[0]),
            devices=devices,
        )
        engine.model = model
        left = list(devices)

        def job(device: str) -> None:
            if engine.loaded.done():
                return
            try:
                forward, capabilities = load(device)
            except BaseException as error:  # whatever it is, somebody waits
                self._failed(engine, error)
                return
            with self.lock:
                abandoned = engine.leases == 0
                if not abandoned:
                    model.forwards[device] = forward
                    model.context = capabilities.context
                    engine.capabilities = capabilities
                left.remove(device)
            if not left and not abandoned:
                settle(engine.loaded)

        self.scheduler.add(model)
        for device in devices:
            self.scheduler.post(device, partial(job, device))

    def _failed(self, engine: Engine, error: BaseException) -> None:
        with self.lock:
            if self._engines.get(engine.key) is engine:
                del self._engines[engine.key]
            model, engine.model = engine.model, None
        if model is not None:
            self._remove(model)
        settle(engine.loaded, error=_typed(error))

    def release(self, engine: Engine) -> None:
        """Give back a lease; the last one frees the weights."""
        with self.lock:
            engine.leases -= 1
            if engine.leases or self._engines.get(engine.key) is not engine:
                return
            del self._engines[engine.key]
            model, engine.model = engine.model, None
        if model is not None:
            self._remove(model)

    def _remove(self, model: Model) -> None:
        for device in model.devices:
            self.scheduler.post(device, partial(_unload, model, device))
        self.scheduler.remove(model)


class Lease:
    """One door's claim on a model, from its first use to its closing."""

    def __init__(self, registry: Registry, spec: LocalSpec, objects: Objects | None) -> None:
        self.registry = registry
        self._spec = spec
        self._objects = objects
        self._engine: Engine | None = None
        self._opening = False
        self._opened_well = False
        self._closed = False
        self._unopened: dict[Future[Any], Callable[[Engine], None]] = {}
        self._futures: set[Future[Any]] = set()

    def use(self, future: Future[Any], then: Callable[[Engine], None]) -> None:
        """Call `then` with the loaded engine, loading it first if need be.

        Args:
            future: What the caller waits for; ends with the error if there is one.
            then: Must not block.
        """
        start = False
        with self.registry.lock:
            closed = self._closed
            engine = self._engine if self._opened_well else None
            if not closed:
                self._futures.add(future)
                if engine is None:
                    self._unopened[future] = then
                    start, self._opening = not self._opening, True
        if closed:
            settle(future, error=_closed_error(self._spec.model))
            return
        future.add_done_callback(self._forget)
        if engine is not None:
            then(engine)
        elif start:
            # A thread of its own: a download may take minutes, and others' work goes on.
            try:
                threading.Thread(target=self._open, name="qwen3-rag-open", daemon=True).start()
            except RuntimeError as error:
                self._opened(None, _typed(error))

    def close(self) -> None:
        """End every unfinished request with an error and give the model back."""
        with self.registry.lock:
            self._closed = True
            engine, self._engine = self._engine, None
            self._opened_well = False
            futures, self._futures = list(self._futures), set()
            self._unopened.clear()
        for future in futures:
            settle(future, error=_closed_error(self._spec.model))
        if engine is not None:
            self.registry.release(engine)

    def _open(self) -> None:
        try:
            engine = self.registry.acquire(self._spec, self._objects)
        except BaseException as error:  # whatever it is, somebody waits
            self._opened(None, _typed(error))
            return
        with self.registry.lock:
            closed = self._closed
            if not closed:
                self._engine = engine
        if closed:
            self.registry.release(engine)
        else:
            engine.loaded.add_done_callback(lambda loaded: self._opened(engine, loaded.exception()))

    def _opened(self, engine: Engine | None, error: BaseException | None) -> None:
        with self.registry.lock:
            if self._engine is not engine:  # closed meanwhile, which gave the engine back
                return
            self._opening = False
            unopened, self._unopened = self._unopened, {}
            self._opened_well = error is None
            if error is not None:
                self._engine = None
        if error is not None and engine is not None:
            self.registry.release(engine)
        for future, then in unopened.items():
            if error is not None:
                # One exception object raised in many threads would gather all their tracebacks.
                copy = type(error)(*error.args)
                copy.__cause__ = error.__cause__
                settle(future, error=copy)
            elif engine is not None:
                then(engine)

    def _forget(self, future: Future[Any]) -> None:
        with self.registry.lock:
            self._futures.discard(future)
            self._unopened.pop(future, None)


def _load(
    spec: LocalSpec, source: Source, tokens: Any, device: str, *, attention: str, dtype: Any
) -> tuple[Any, Capabilities]:
    """Load a replica; runs on the device's thread."""
    import torch

    from qwen3_rag.backends.local import device as machine
    from qwen3_rag.backends.local import forward, loading

    if device == "cpu":
        torch.set_num_threads(min(torch.get_num_threads(), machine.allowed_threads()))
    # Transformers sets torch's default format and its own verbosity while it loads, for the whole
    # process: two devices' threads must not do so at once.
    with _loading:
        loaded = loading.load(spec, source, tokens, device=device, dtype=dtype)
    capabilities = _capabilities(spec, loaded.trunk.config, source.fingerprint)
    eager = attention == "eager"
    packed = forward.PackedForward(loaded, device, eager=eager, compiled=spec.compile)
    if device == "cpu":
        machine.keep_freed_memory()  # after loading: weights are better off by themselves
    return packed, capabilities


def _wrap(spec: LocalSpec, objects: Objects, tokens: Any, device: str) -> tuple[Any, Capabilities]:
    """Take over the caller's model; runs on the device's thread."""
    import torch

    from qwen3_rag.backends.local import device as machine
    from qwen3_rag.backends.local import forward, loading

    if device == "cpu":
        torch.set_num_threads(min(torch.get_num_threads(), machine.allowed_threads()))
    loaded = loading.wrap(objects.model, tokens, spec.role)
    capabilities = _capabilities(spec, loaded.trunk.config, loading.fingerprint_of(objects.model))
    return forward.PaddedForward(loaded, device), capabilities


def _capabilities(spec: LocalSpec, config: Any, fingerprint: str) -> Capabilities:
    return Capabilities(
        model=spec.model,
        fingerprint=fingerprint,
        role=spec.role,
        dim=config.hidden_size if spec.role == "embedding" else 0,
        context=min(config.max_position_embeddings, CONTEXT),
        counts_tokens=True,
    )


def _unload(model: Model, device: str) -> None:
    """Free a replica; runs on the device's thread."""
    from qwen3_rag.backends.local.device import empty_cache

    model.forwards.pop(device, None)
    empty_cache(device)


def _callers_tokens(tokenizer: Any, spec: LocalSpec) -> Any:
    from qwen3_rag.backends.local.tokens import Tokens

    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(fast, "to_str"):
        raise InputTypeError(
            f"`tokenizer` must be a fast tokenizer, got {type(tokenizer).__name__}. "
            "Load it with AutoTokenizer.from_pretrained."
        )
    return Tokens(fast.to_str(), spec.role, name=spec.model)


def _typed(error: BaseException) -> Qwen3RagError:
    """Turn whatever opening a model raised into one of ours."""
    if isinstance(error, Qwen3RagError):
        return error
    # A caller may keep the error for long; what was loaded so far must not stay with it.
    traceback.clear_frames(error.__traceback__)
    typed = BackendError(f"The model could not be opened: {type(error).__name__}: {error}")
    typed.__cause__ = error
    return typed


def _closed_error(model: str) -> BackendError:
    return BackendError(
        f"{model!r} was closed. Open a new Qwen3Embedder or Qwen3Reranker; the model itself stays "
        "shared with others that are open."
    )


# ---------------------------------------------------------------------- the process's registry

_registry = Registry()
_imports = threading.RLock()
_loading = threading.Lock()


def registry() -> Registry:
    """The registry of this process; a forked child has one of its own."""
    return _registry


def _after_fork() -> None:
    # The parent's threads do not exist here, and its locks may be held by them for ever. Torch
    # works in threads that are new.
    global _registry, _loading
    _registry, _loading = Registry(), threading.Lock()
    _imports.release()


atexit.register(lambda: registry().scheduler.stop(EXIT_PATIENCE))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_imports.acquire, after_in_parent=_imports.release, after_in_child=_after_fork
    )
