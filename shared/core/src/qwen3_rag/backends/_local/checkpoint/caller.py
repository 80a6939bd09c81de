"""Checks a model that the caller loaded, and finds the modules to run."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from qwen3_rag._published import Role
from qwen3_rag.backends._local.checkpoint.weights import check_rows, classifier_rows
from qwen3_rag.backends._local.model.forward import Head, ProjectionHead, RowsHead
from qwen3_rag.backends._local.model.tokens import PromptTokenizer
from qwen3_rag.errors import ModelError

__all__ = ["caller_fingerprint", "caller_parts"]


def caller_parts(model: Any, tokenizer: PromptTokenizer, role: Role) -> tuple[Any, Head | None]:
    """Find the modules to run in a model that the caller loaded. The model is not changed.

    Args:
        model: A transformers Qwen3 model, possibly quantised or with a PEFT adapter.
        tokenizer: Its tokenizer.
        role: `"embedding"` or `"reranking"`.

    Returns:
        The transformer without a head, and a reranker's head.

    Raises:
        ModelError: The model is of another family, or lacks the head that a reranker needs.
    """
    # A model that transformers put an adapter into has `peft_config` and is its own base.
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if any(getattr(c, "is_prompt_learning", False) for c in _peft_configs(model)):
        raise ModelError(
            "The model's PEFT adapter adds virtual tokens, which changes the prompt. Only adapters "
            "on the weights (such as LoRA) can be used."
        )
    if getattr(getattr(inner, "config", None), "model_type", None) != "qwen3":
        raise ModelError(
            f"`model` must be a transformers Qwen3 model, got {type(model).__name__}. "
            "Load it with AutoModel or AutoModelForCausalLM."
        )
    if any(m.training and m.p > 0 for m in model.modules() if isinstance(m, torch.nn.Dropout)):
        raise ModelError(
            "`model` is in training mode and drops out numbers at random. Call `model.eval()` "
            "first; a new PEFT adapter starts in training mode."
        )
    trunk = getattr(inner, "model", inner)
    name = type(model).__name__
    if role == "embedding":
        return trunk, None
    if hasattr(inner, "score"):
        rows = classifier_rows(inner, name).detach().float()
        check_rows(rows, name)
        return trunk, RowsHead(rows)
    projection = getattr(inner, "lm_head", None)
    if projection is None:
        raise ModelError(
            f"`model` is a {name} without a language-model head. Load the reranker "
            "with AutoModelForCausalLM."
        )
    weight = getattr(projection, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.is_floating_point():
        check_rows(weight[[tokenizer.no, tokenizer.yes]].detach().float(), name)
    return trunk, ProjectionHead(projection, tokenizer.no, tokenizer.yes)


def caller_fingerprint(model: Any) -> str:
    """Hash a model in memory: its configuration and a few numbers of every tensor."""
    digest = hashlib.sha256(repr(model.config.to_diff_dict()).encode())
    for name, value in model.state_dict().items():
        # The state of quantised layers holds more than tensors.
        numbers = value.flatten()[:16].tolist() if isinstance(value, torch.Tensor) else value
        digest.update(f"{name}:{numbers!r}".encode())
    return digest.hexdigest()[:32]


def _peft_configs(model: Any) -> list[Any]:
    configs = getattr(model, "peft_config", {})
    return list(configs.values()) if isinstance(configs, dict) else []
