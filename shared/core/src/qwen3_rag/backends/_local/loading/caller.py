"""Checks a model that the caller loaded, and finds the modules to run."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from qwen3_rag._published import Role
from qwen3_rag.backends._checkpoint.layout import check_architecture
from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
from qwen3_rag.backends._local.loading.quantised import (
    decompress,
    float_weight,
    rounds_inputs,
)
from qwen3_rag.backends._local.loading.weights import answers, check_rows, head_of
from qwen3_rag.backends._local.model.forward import Head, ProjectionHead, RowsHead
from qwen3_rag.errors import InputTypeError, ModelError

__all__ = ["caller_fingerprint", "caller_parts", "check_caller"]

# The modules of sentence-transformers whose work is done here too.
MODULES = {"Transformer", "Pooling", "Normalize", "LogitScore"}

# Attributes of peft's layers that decide what an adapter adds.
ADAPTER_STATE = ("active_adapters", "disable_adapters", "merged_adapters", "scaling")

# Tensors up to this size are hashed whole, larger ones by the sums of their rows.
HASHED_WHOLE = 2**16


def check_caller(model: Any, role: Role) -> None:
    """Check that the caller's object is a model, before it is used.

    Raises:
        InputTypeError: It is another object; for one of sentence-transformers, the message says
            what to write.
        ModelError: It is a model of sentence-transformers that does more than is done here.
    """
    kind = type(model).__name__
    if any(base.__module__.startswith("sentence_transformers.") for base in type(model).__mro__):
        modules = {type(module).__name__: module for module in model.children()}
        more = [name for name in modules if name not in MODULES and not name.startswith("Qwen3")]
        pooling = modules.get("Pooling")
        mode = getattr(pooling, "pooling_mode", "lasttoken")
        if not getattr(pooling, "pooling_mode_lasttoken", True) or mode != "lasttoken":
            more.append(f"a pooling other than the last token's, {mode!r}")
        if more:
            raise ModelError(
                f"The {kind} has {', '.join(more)}, which is not implemented here. "
                "Use sentence-transformers for it."
            )
        line = (
            "Qwen3Embedder.from_model(model[0].auto_model, model.tokenizer)"
            if role == "embedding"
            else "Qwen3Reranker.from_model(model.model, model.tokenizer)"
        )
        raise InputTypeError(
            f"`model` must be a transformers Qwen3 model, got a {kind}. Give the model inside: "
            f"{line}. Its prompts are not taken over; give them as `instruction`."
        )
    if not hasattr(model, "device"):
        raise InputTypeError(
            f"`model` must be a transformers Qwen3 model, got {kind}. "
            "Load it with AutoModel or AutoModelForCausalLM."
        )


def caller_parts(model: Any, tokenizer: PromptTokenizer, role: Role) -> tuple[Any, Head | None]:
    """Find the modules to run in a model that the caller loaded.

    The model is not changed, except that compressed weights are decompressed as in its own first
    pass.

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
    name = type(model).__name__
    check_architecture(inner.config.to_dict(), name)
    if any(getattr(module, "is_causal", True) is False for module in inner.modules()):
        raise ModelError(
            f"The layers of `model`, a {name}, attend to later tokens too (is_causal is False), "
            "which is not implemented here. Use the software it was published for."
        )
    decompress(inner, plain=False)
    trunk = getattr(inner, "model", inner)
    if role == "embedding":
        return trunk, None
    if not hasattr(inner, "score") and not hasattr(inner, "lm_head"):
        raise ModelError(
            f"`model` is a {name} without a language-model head. Load the reranker "
            "with AutoModelForCausalLM."
        )
    head, chosen = head_of(inner), answers(inner, tokenizer, name)
    weight = float_weight(head)
    rows = None if weight is None else weight[list(chosen)].detach().float()
    if rows is not None:
        check_rows(rows, name)
        if hasattr(inner, "score") and type(head) is torch.nn.Linear and not rounds_inputs(head):
            return trunk, RowsHead(rows)
    return trunk, ProjectionHead(head, chosen)


def caller_fingerprint(model: Any, tokenizer: PromptTokenizer) -> str:
    """Hash what decides the numbers of a model in memory: weights, adapters and tokenizer.

    It is the same on every device and with every version of transformers.
    """
    config = model.config
    rope = getattr(config, "rope_parameters", None) or (config.rope_theta, config.rope_scaling)
    digest = hashlib.sha256(repr((config.rms_norm_eps, rope, tokenizer.identity)).encode())
    if hasattr(model, "score"):
        digest.update(repr(config.id2label).encode())
    for name, module in model.named_modules():
        if hasattr(module, "active_adapters"):  # of peft; which one is in use, and how strongly
            state = [getattr(module, key, None) for key in ADAPTER_STATE]
            digest.update(f"{name}:{state!r}".encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name}:".encode())
        _hash(value, digest)
    return digest.hexdigest()[:32]


def _hash(value: Any, digest: Any) -> None:
    """Hash a tensor: all bytes, or for each row of a large one the sum of its 64-bit words.

    Sums are computed where the tensor is, and a single changed number changes one. The state of
    quantised layers has other values too.
    """
    if not isinstance(value, torch.Tensor):
        digest.update(repr(value).encode())
        return
    if hasattr(value, "__tensor_flatten__"):  # made of several tensors, as those of torchao are
        for name in value.__tensor_flatten__()[0]:
            _hash(getattr(value, name), digest)
        return
    digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
    value = value.detach().as_subclass(torch.Tensor).contiguous()
    if value.dim() > 1 and value.nbytes > HASHED_WHOLE and value[0].nbytes % 8 == 0:
        value = value.flatten(1).view(torch.int64).sum(1)
    digest.update(value.flatten().view(torch.uint8).cpu().numpy().tobytes())


def _peft_configs(model: Any) -> list[Any]:
    configs = getattr(model, "peft_config", {})
    return list(configs.values()) if isinstance(configs, dict) else []
