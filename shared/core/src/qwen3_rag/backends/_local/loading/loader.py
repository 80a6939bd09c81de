"""Loads a model from a checkpoint, or takes one that the caller loaded."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, Protocol

import torch

from qwen3_rag._published import CONTEXT
from qwen3_rag.backends._base import Capabilities
from qwen3_rag.backends._checkpoint.description import usable_earlier
from qwen3_rag.backends._checkpoint.fingerprint import places
from qwen3_rag.backends._checkpoint.hub import TINY, Checkpoint
from qwen3_rag.backends._checkpoint.layout import check_layout
from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
from qwen3_rag.backends._checkpoint.words import read_words
from qwen3_rag.backends._local.device import (
    choose_devices,
    choose_dtype,
    default_budget,
    keep_freed_memory,
    used_threads,
)
from qwen3_rag.backends._local.loading.caller import (
    caller_fingerprint,
    caller_parts,
    check_caller,
)
from qwen3_rag.backends._local.loading.quantised import rounds_inputs
from qwen3_rag.backends._local.loading.weights import load_weights
from qwen3_rag.backends._local.model.forward import PackedForward, PaddedForward
from qwen3_rag.backends._local.serving.loaded import Forward
from qwen3_rag.backends._local.spec import CallerModel, LocalSpec, canonical
from qwen3_rag.errors import InputTypeError

__all__ = ["Loader", "loader_for"]

logger = logging.getLogger("qwen3_rag")


class Loader(Protocol):
    """Loads one model.

    Attributes:
        key: Models with equal keys are shared.
        devices: The devices that the model runs on.
        budget: Maximum tokens per batch.
    """

    key: Hashable
    devices: tuple[str, ...]
    budget: int

    def read_tokenizer(self) -> PromptTokenizer:
        """Read the tokenizer; called before `load`."""
        ...

    def load(self, device: str) -> tuple[Forward, Capabilities]:
        """Load the weights onto a device, on that device's thread."""
        ...


def loader_for(spec: LocalSpec, source: CallerModel | Checkpoint) -> Loader:
    """Create the loader, of the caller's model or of a checkpoint.

    Raises:
        InputError: An option is out of range.
        ModelError: The checkpoint is missing or cannot be run here.
    """
    if isinstance(source, Checkpoint):
        return _CheckpointLoader(spec, source)
    return _CallerLoader(spec, source)


class _CheckpointLoader:
    def __init__(self, spec: LocalSpec, checkpoint: Checkpoint) -> None:
        self._spec = spec
        options = spec.options
        self._checkpoint = checkpoint
        config = check_layout(
            self._checkpoint, spec.role, renamed="key_mapping" in (options["model_kwargs"] or {})
        )
        self._words = read_words(self._checkpoint, spec.role)
        self.devices = choose_devices(options["device"])
        self._dtype = choose_dtype(
            options["dtype"] or ("float32" if spec.model == TINY else None),
            self.devices[0],
            hidden_size=int(config.get("hidden_size", 0)),
        )
        self._attention = options["attention"] or "sdpa"
        self.budget = options["batch_tokens"] or default_budget(self.devices[0])
        self.key: Hashable = (
            spec.role,
            self._checkpoint.fingerprint,
            places(self._checkpoint.folder, *self._checkpoint.adapters),
            self.devices,
            self._dtype,
            self._attention,
            options["compile"],
            canonical(options["model_kwargs"]),
            options["batch_tokens"],
        )

    def read_tokenizer(self) -> PromptTokenizer:
        checkpoint = self._checkpoint
        self._tokenizer = PromptTokenizer.from_folder(
            checkpoint.tokenizer_folder,
            self._spec.role,
            name=checkpoint.name,
            answers=self._words.answers,
            max_length=self._words.max_length,
        )
        return self._tokenizer

    def load(self, device: str) -> tuple[Forward, Capabilities]:
        _limit_threads(device)
        trunk, head = load_weights(
            self._spec, self._checkpoint, self._tokenizer, device=device, dtype=self._dtype
        )
        capabilities = replace(
            _capabilities(self._spec, trunk.config, self._checkpoint.fingerprint),
            prompts=self._words.prompts,
            earlier_fingerprint=usable_earlier(self._checkpoint, self._words, self._tokenizer),
            variant=_variant(self._dtype, self._spec.options["model_kwargs"]),
        )
        eager, compiled = self._attention == "eager", self._spec.options["compile"]
        forward: Forward
        if rounds_inputs(trunk):
            if compiled:
                logger.warning(
                    "`compile` is not used for %r, whose layers round their inputs.",
                    self._checkpoint.name,
                )
            trunk.set_attn_implementation("eager" if eager else "sdpa")
            # On other devices, batches of one would take many times as long.
            forward = PaddedForward(trunk, head, device, alone=device == "cpu")
        else:
            forward = PackedForward(trunk, head, device, eager=eager, compiled=compiled)
        if device == "cpu":
            keep_freed_memory()  # not earlier, or the memory freed by loading would be kept too
        return forward, capabilities


class _CallerLoader:
    def __init__(self, spec: LocalSpec, caller: CallerModel) -> None:
        check_caller(caller.model, spec.role)
        self._spec, self._caller = spec, caller
        self.devices: tuple[str, ...] = (str(caller.model.device),)
        self.budget = caller.batch_tokens or default_budget(self.devices[0])
        self.key: Hashable = (
            spec.role,
            id(caller.model),
            id(caller.tokenizer),
            caller.batch_tokens,
        )

    def read_tokenizer(self) -> PromptTokenizer:
        given = self._caller.tokenizer
        fast = getattr(given, "backend_tokenizer", given)
        if not hasattr(fast, "to_str"):
            raise InputTypeError(
                f"`tokenizer` must be a fast tokenizer, got {type(given).__name__}. "
                "Load it with AutoTokenizer.from_pretrained."
            )
        self._tokenizer = PromptTokenizer(fast.to_str(), self._spec.role, name=self._spec.model)
        return self._tokenizer

    def load(self, device: str) -> tuple[Forward, Capabilities]:
        _limit_threads(device)
        model = self._caller.model
        trunk, head = caller_parts(model, self._tokenizer, self._spec.role)
        own = caller_fingerprint(model, self._tokenizer)
        capabilities = replace(
            _capabilities(self._spec, trunk.config, own),
            variant=_variant(getattr(model, "dtype", None)),
        )
        return PaddedForward(trunk, head, device), capabilities


def _limit_threads(device: str) -> None:
    if device == "cpu":
        torch.set_num_threads(used_threads())


def _variant(dtype: object, model_kwargs: object = None) -> str:
    """Name what decides the numbers beside the content, up to rounding."""
    return f"{dtype} {canonical(model_kwargs or {})}"


def _capabilities(spec: LocalSpec, config: Any, fingerprint: str) -> Capabilities:
    return Capabilities(
        model=spec.model,
        fingerprint=fingerprint,
        role=spec.role,
        dim=config.hidden_size if spec.role == "embedding" else 0,
        context=min(config.max_position_embeddings, CONTEXT),
        counts_tokens=True,
    )
