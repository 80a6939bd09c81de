"""Loads a checkpoint's weights with transformers' own classes, and checks them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)
from transformers.utils import logging as transformers_logging

from qwen3_rag._published import Role
from qwen3_rag.backends._local.checkpoint.adapters import adapted_labels, add_adapter
from qwen3_rag.backends._local.checkpoint.hub import Checkpoint
from qwen3_rag.backends._local.model.forward import Head, RowsHead
from qwen3_rag.backends._local.model.tokens import PromptTokenizer
from qwen3_rag.backends._local.spec import LocalSpec
from qwen3_rag.errors import InputError, ModelError

__all__ = ["answer_rows", "check_rows", "classifier_rows", "load_weights", "read_model"]

# A head whose rows differ by less than this, relative to its norm, cannot tell yes from no. In
# trained heads the difference is about as large as the rows themselves.
DEGENERATE = 1e-6


def load_weights(
    spec: LocalSpec,
    checkpoint: Checkpoint,
    tokenizer: PromptTokenizer,
    *,
    device: str,
    dtype: torch.dtype,
) -> tuple[Any, Head | None]:
    """Load a checkpoint from its folder.

    Args:
        spec: The caller's specification.
        checkpoint: The checkpoint.
        tokenizer: Its tokenizer.
        device: Where to put the weights.
        dtype: Number format of the weights.

    Returns:
        The transformer without a head, and a reranker's head.

    Raises:
        ModelError: Weights are missing, truncated or of another shape, or the head is degenerate.
    """
    model = read_model(
        checkpoint, spec.role, tokenizer, dtype=dtype, model_kwargs=spec.options["model_kwargs"]
    )
    model = model.eval().requires_grad_(False)
    if getattr(model, "quantization_method", None) is None:
        model = model.to(device)
    if spec.role == "embedding":
        return model, None
    rows = answer_rows(model, tokenizer, checkpoint.name)
    rows = rows.detach().to(device=device, dtype=torch.float32)
    check_rows(rows, checkpoint.name)
    return model.model, RowsHead(rows)


def read_model(
    checkpoint: Checkpoint,
    role: Role,
    tokenizer: PromptTokenizer,
    *,
    dtype: torch.dtype,
    model_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Load a checkpoint into transformers' own class, on the CPU, and check that it is whole.

    Args:
        checkpoint: The checkpoint.
        role: Whether it embeds or reranks.
        tokenizer: Its tokenizer.
        dtype: Number format of the weights.
        model_kwargs: Further arguments for `from_pretrained`.

    Returns:
        A `Qwen3Model` for an embedder; for a reranker a `Qwen3ForCausalLM` or, if its head is a
        classifier, a `Qwen3ForSequenceClassification`.

    Raises:
        ModelError: Weights are missing, truncated or of another shape.
        InputError: transformers refused `model_kwargs`.
    """
    model_kwargs, more = model_kwargs or {}, dict[str, Any]()
    if checkpoint.folder in checkpoint.adapters:
        # transformers would put the adapter beside the weights, where the head is not asked for it.
        more["adapter_kwargs"] = {"subfolder": "none"}
    config = checkpoint.folder / "config.json"
    if role == "embedding":
        kind: Any = Qwen3Model
    elif labels := adapted_labels(checkpoint.adapters):
        kind, more = Qwen3ForSequenceClassification, {"num_labels": labels}
    elif "SequenceClassification" in config.read_text(encoding="utf-8"):
        kind = Qwen3ForSequenceClassification
    else:
        kind = Qwen3ForCausalLM
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                # Also in place of what config.json names; the engine computes attention itself.
                **more,
                **{"attn_implementation": "sdpa", **model_kwargs},
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # safetensors, transformers and json raise errors of their own
        if isinstance(error, TypeError) and model_kwargs:
            raise InputError(f"`model_kwargs` were refused by transformers: {error}") from error
        raise ModelError(
            f"The weights of {checkpoint.name!r} cannot be read: {str(error)[:500]}. "
            "If a download was interrupted, delete the folder and fetch it again."
        ) from error
    for folder in checkpoint.adapters:
        model = add_adapter(model, folder)
    _check_weights(model, info, checkpoint, tokenizer)
    return model


def answer_rows(model: Any, tokenizer: PromptTokenizer, name: str) -> torch.Tensor:
    """Return the rows of a reranker's head, `[2, hidden]` in the order no, yes, or `[1, hidden]`.

    A single row gives the difference of the two logits. The rows keep their gradient.

    Raises:
        ModelError: The head's labels cannot be read as relevance.
    """
    if hasattr(model, "score"):
        return classifier_rows(model, name)
    rows: torch.Tensor = model.lm_head.weight[[tokenizer.no, tokenizer.yes]]
    return rows


def _check_weights(
    model: Any, info: dict[str, Any], checkpoint: Checkpoint, tokenizer: PromptTokenizer
) -> None:
    """Check that the checkpoint has all weights of a Qwen3 model and no others."""
    foreign = sorted(
        key for key in info["unexpected_keys"] if not key.endswith(("lm_head.weight", "inv_freq"))
    )
    if foreign:
        raise ModelError(
            f"The checkpoint {checkpoint.name!r} has weights that Qwen3 does not have: "
            f"{', '.join(foreign[:3])}. Its numbers would be wrong here; use the software it was "
            "published for."
        )
    rows = model.config.vocab_size
    if beyond := [repr(token) for token, index in tokenizer.own.items() if index >= rows]:
        raise ModelError(
            f"The embedding table of {checkpoint.name!r} has {rows} rows and none for "
            f"{', '.join(beyond[:3])}, which was added to the tokenizer without resizing the "
            "table. Take it out of tokenizer.json, or call `model.resize_token_embeddings` and "
            "save the model again."
        )
    if tokenizer.rows > rows:
        raise ModelError(
            f"The tokenizer of {checkpoint.name!r} has {tokenizer.rows} tokens and its embedding "
            f"table {rows}. They are not of one checkpoint; fetch it again."
        )
    missing = info["missing_keys"]
    if adapted_labels(checkpoint.adapters):  # the head is the adapter's
        missing = [key for key in missing if key != "score.weight"]
    lacking = sorted(missing) + [str(key) for key in info["mismatched_keys"]]
    if lacking:
        raise ModelError(
            f"The checkpoint {checkpoint.name!r} lacks weights or has them in another shape: "
            f"{', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}. "
            "Fetch it again, or check that it was saved whole."
        )


def classifier_rows(model: Any, name: str) -> torch.Tensor:
    """Return the rows of a sequence-classification head, in the order no, yes."""
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


def check_rows(head: torch.Tensor, name: str) -> None:
    """Check that a head can tell yes from no.

    Raises:
        ModelError: It contains NaN, or its rows are equal or zero.
    """
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
    """Suppress transformers' progress bars and warnings; `_check_weights` reports real problems."""
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
