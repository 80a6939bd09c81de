"""A checkpoint folder to a torch module and, for rerankers, the rows of its head.

The published classes are transformers' own. Knows nothing of batches and threads; runs on the
device's worker thread only.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)
from transformers.utils import logging as transformers_logging

from qwen3_rag.backends.local.source import LocalSpec, Source
from qwen3_rag.backends.local.tokens import Tokens
from qwen3_rag.errors import InputError, ModelError

__all__ = ["Loaded", "fingerprint_of", "load", "wrap"]

# Rows of a head closer than this, relative to their length, cannot separate yes from no. Trained
# heads differ by about their own length.
DEGENERATE = 1e-6


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model ready to run.

    Attributes:
        trunk: The transformer, token ids to hidden states after the final norm.
        head: float32 rows over the last hidden state whose difference is the logit: `[2, hidden]`
            for "no" and "yes", `[1, hidden]` where only their difference was published. `None`
            for an embedder and where `projection` is used.
        projection: A caller's own language-model head, for weights that cannot be sliced.
        answers: Ids of "no" and "yes" in the output of `projection`.
    """

    trunk: Any
    head: torch.Tensor | None = None
    projection: Any = None
    answers: tuple[int, int] | None = None


def load(
    spec: LocalSpec, source: Source, tokens: Tokens, *, device: str, dtype: torch.dtype
) -> Loaded:
    """Load a checkpoint from its folder.

    Args:
        spec: What the caller asked for.
        source: Where it lies.
        tokens: Its tokenizer.
        device: Where to put it.
        dtype: Number format.

    Raises:
        ModelError: Weights are missing, truncated or of another shape, or the head is degenerate.
    """
    config = source.folder / "config.json"
    classifier = "SequenceClassification" in config.read_text(encoding="utf-8")
    if spec.role == "embedding":
        kind: Any = Qwen3Model
    else:
        kind = Qwen3ForSequenceClassification if classifier else Qwen3ForCausalLM
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                source.folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **spec.model_kwargs,
            )
    except torch.OutOfMemoryError:
        raise
    except TypeError as error:
        if not spec.model_kwargs:
            raise
        raise InputError(f"`model_kwargs` were refused by transformers: {error}") from error
    except Exception as error:  # safetensors, transformers and json raise their own
        raise ModelError(
            f"The weights of {source.name!r} cannot be read: {error}. "
            "If a download was interrupted, delete the folder and fetch it again."
        ) from error
    _check_weights(model, info, source, tokens)
    model = model.eval().requires_grad_(False)
    if getattr(model, "quantization_method", None) is None:
        model = model.to(device)
    if spec.role == "embedding":
        return Loaded(model)
    if classifier:
        head = _classifier_rows(model, source.name)
    else:
        head = model.lm_head.weight[[tokens.no, tokens.yes]]
    head = head.detach().to(device=device, dtype=torch.float32)
    _check_head(head, source.name)
    return Loaded(model.model, head)


def _check_weights(model: Any, info: dict[str, Any], source: Source, tokens: Tokens) -> None:
    """Make sure that what was loaded is a whole Qwen3 and nothing else."""
    foreign = sorted(
        key for key in info["unexpected_keys"] if not key.endswith(("lm_head.weight", "inv_freq"))
    )
    if foreign:
        raise ModelError(
            f"The checkpoint {source.name!r} has weights that Qwen3 does not: "
            f"{', '.join(foreign[:3])}. Its numbers would be wrong here; use the software it was "
            "published for."
        )
    if tokens.size > model.config.vocab_size:
        raise ModelError(
            f"The tokenizer of {source.name!r} has {tokens.size} tokens and its embedding table "
            f"{model.config.vocab_size}. They are not of one checkpoint; fetch it again."
        )
    lacking = sorted(info["missing_keys"]) + [str(key) for key in info["mismatched_keys"]]
    if lacking:
        raise ModelError(
            f"The checkpoint {source.name!r} lacks weights or has them in another shape: "
            f"{', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}. "
            "Fetch it again, or check that it was saved whole."
        )


def wrap(model: Any, tokens: Tokens, role: str) -> Loaded:
    """Take a model the caller loaded; it is used as it is and not changed.

    Args:
        model: A transformers Qwen3 model, possibly quantised or with a PEFT adapter on it.
        tokens: Its tokenizer.
        role: `"embedding"` or `"reranking"`.

    Raises:
        ModelError: Not of this family, or without the head a reranker needs.
    """
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    if any(getattr(c, "is_prompt_learning", False) for c in _peft_configs(model)):
        raise ModelError(
            "The model's PEFT adapter adds virtual tokens, which changes the prompt. Only adapters "
            "on the weights (LoRA and its kin) can be used."
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
        return Loaded(trunk)
    if hasattr(inner, "score"):
        head = _classifier_rows(inner, name).detach().float()
        _check_head(head, name)
        return Loaded(trunk, head)
    projection = getattr(inner, "lm_head", None)
    if projection is None:
        raise ModelError(
            f"`model` is a {name} without a language-model head. Load the reranker "
            "with AutoModelForCausalLM."
        )
    weight = getattr(projection, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.is_floating_point():
        _check_head(weight[[tokens.no, tokens.yes]].detach().float(), name)
    return Loaded(trunk, projection=projection, answers=(tokens.no, tokens.yes))


def fingerprint_of(model: Any) -> str:
    """Digest a model in memory: its configuration, and a few numbers of every tensor."""
    digest = hashlib.sha256(repr(model.config.to_diff_dict()).encode())
    for name, value in model.state_dict().items():
        # Quantised layers keep more than tensors in their state.
        numbers = value.flatten()[:16].tolist() if isinstance(value, torch.Tensor) else value
        digest.update(f"{name}:{numbers!r}".encode())
    return digest.hexdigest()[:32]


def _peft_configs(model: Any) -> list[Any]:
    configs = getattr(model, "peft_config", {})
    return list(configs.values()) if isinstance(configs, dict) else []


def _classifier_rows(model: Any, name: str) -> torch.Tensor:
    """Rows of a sequence-classification head, in the order no, yes."""
    rows: torch.Tensor = model.score.weight
    if rows.shape[0] == 1:
        return rows
    labels = {str(label).lower(): index for index, label in model.config.id2label.items()}
    if rows.shape[0] == 2 and {"no", "yes"} <= labels.keys():
        return rows[[labels["no"], labels["yes"]]]
    raise ModelError(
        f"The classification head of {name!r} has {rows.shape[0]} labels "
        f"({', '.join(labels)}); one, or two named 'no' and 'yes', can be read as relevance."
    )


def _check_head(head: torch.Tensor, name: str) -> None:
    difference = head[-1] - head[0] if len(head) == 2 else head[0]
    if not torch.isfinite(head).all():
        raise ModelError(f"The head of {name!r} holds NaN or infinity. Fetch the checkpoint again.")
    if difference.norm() <= DEGENERATE * head.norm():
        raise ModelError(
            f"The head of {name!r} cannot tell yes from no: the two rows are equal or zero, so "
            "every score would be 0.5. The checkpoint lost its head; fetch it again, and for 8B "
            "make sure that lm_head.weight is in it."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing bars and reports; what matters is checked and raised."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
