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
from qwen3_rag.backends._checkpoint.files import find_files, read_header, read_json
from qwen3_rag.backends._checkpoint.hub import Checkpoint
from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
from qwen3_rag.backends._local.loading.adapters import adapted_labels, add_adapter
from qwen3_rag.backends._local.loading.quantised import (
    decompress,
    float_weight,
    loading_arguments,
    method_of,
    rounds_inputs,
)
from qwen3_rag.backends._local.model.forward import Head, ProjectionHead, RowsHead
from qwen3_rag.backends._local.spec import LocalSpec
from qwen3_rag.errors import InputError, MissingExtraError, ModelError, Qwen3RagError

__all__ = [
    "answer_rows",
    "answers",
    "check_rows",
    "head_of",
    "load_weights",
    "read_model",
]

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
        checkpoint,
        spec.role,
        tokenizer,
        dtype=dtype,
        device=device,
        model_kwargs=spec.options["model_kwargs"],
    )
    model = model.eval().requires_grad_(False)
    if getattr(model, "quantization_method", None) is None:
        model = model.to(device)
    if spec.role == "embedding":
        return model, None
    rows = answer_rows(model, tokenizer, checkpoint.name)
    rows = rows.detach().to(device=device, dtype=torch.float32)
    check_rows(rows, checkpoint.name)
    head = head_of(model)
    if rounds_inputs(head):
        return model.model, ProjectionHead(head, answers(model, tokenizer, checkpoint.name))
    return model.model, RowsHead(rows)


def read_model(
    checkpoint: Checkpoint,
    role: Role,
    tokenizer: PromptTokenizer,
    *,
    dtype: torch.dtype,
    device: str | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Load a checkpoint into transformers' own class, and check that it is whole.

    Args:
        checkpoint: The checkpoint.
        role: Whether it embeds or reranks.
        tokenizer: Its tokenizer.
        dtype: Number format of the weights.
        device: Where to put quantised weights, `None` to let transformers choose; others are put
            on the CPU.
        model_kwargs: Further arguments for `from_pretrained`.

    Returns:
        A `Qwen3Model` for an embedder; for a reranker a `Qwen3ForCausalLM` or, if its head is a
        classifier, a `Qwen3ForSequenceClassification`.

    Raises:
        ModelError: Weights are missing, truncated or of another shape, or quantised by a method
            that is not run here.
        MissingExtraError: The method of quantised weights needs a package.
        InputError: transformers refused `model_kwargs`.
    """
    model_kwargs = model_kwargs or {}
    config = read_json(checkpoint.folder / "config.json")
    arguments = loading_arguments(config, device, checkpoint)
    if "quantization_config" in model_kwargs and device:  # to quantise plain weights
        arguments.setdefault("device_map", {"": device})
    # transformers would add an adapter beside the weights itself, and not to the head.
    arguments["adapter_kwargs"] = {"subfolder": "none"}
    kind = _class_of(config, checkpoint, role)
    if role == "reranking" and (labels := adapted_labels(checkpoint.adapters)):
        kind, arguments["num_labels"] = Qwen3ForSequenceClassification, labels
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                # Also in place of what config.json names; the engine computes attention itself.
                **{"attn_implementation": "sdpa", **arguments, **model_kwargs},
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # safetensors, transformers and json raise errors of their own
        if isinstance(error, TypeError) and model_kwargs:
            raise InputError(f"`model_kwargs` were refused by transformers: {error}") from error
        raise _unreadable(error, method_of(config), checkpoint) from error
    for folder in checkpoint.adapters:
        model = add_adapter(model, folder)
    _check_weights(model, info, checkpoint, tokenizer, role)
    decompress(model, plain=True)
    return model.model if role == "embedding" and kind is Qwen3ForCausalLM else model


def _class_of(config: Mapping[str, Any], checkpoint: Checkpoint, role: Role) -> Any:
    """Choose the class to load a checkpoint into."""
    if role == "reranking":
        classifier = "SequenceClassification" in str(config.get("architectures"))
        return Qwen3ForSequenceClassification if classifier else Qwen3ForCausalLM
    if method_of(config) is None:
        return Qwen3Model
    # Quantisation names layers as they are called in the class that was quantised. The published
    # trunks are named after a class with a head, so only the tensors tell.
    headers = map(read_header, find_files(checkpoint.folder).weights)
    with_head = any(key.startswith("model.") for header in headers for key in header)
    return Qwen3ForCausalLM if with_head else Qwen3Model


def _unreadable(error: Exception, method: str | None, checkpoint: Checkpoint) -> Qwen3RagError:
    if method is None:
        return ModelError(
            f"The weights of {checkpoint.name!r} cannot be read: {str(error)[:500]}. "
            "If a download was interrupted, delete the folder and fetch it again."
        )
    kind = MissingExtraError if isinstance(error, ImportError) else ModelError
    return kind(
        f"The weights of {checkpoint.name!r}, quantised with {method!r}, cannot be read: {error}. "
        "Check that its packages are as new as the checkpoint and support the device, or use the "
        "checkpoint that it was quantised from."
    )


def head_of(model: Any) -> Any:
    """Return the module of a reranker's head."""
    return model.score if hasattr(model, "score") else model.lm_head


def answers(model: Any, tokenizer: PromptTokenizer, name: str) -> tuple[int, ...]:
    """Return which rows of a reranker's head are "no" and "yes", in this order.

    A single row gives the difference of the two logits.

    Raises:
        ModelError: The labels of a classification head cannot be read as relevance.
    """
    if not hasattr(model, "score"):
        return tokenizer.no, tokenizer.yes
    labels = {str(label).lower(): index for index, label in model.config.id2label.items()}
    if model.num_labels == 1:
        return (0,)
    if model.num_labels == 2 and {"no", "yes"} <= labels.keys():
        return labels["no"], labels["yes"]
    raise ModelError(
        f"The classification head of {name!r} has {model.num_labels} labels "
        f"({', '.join(labels)}); one, or two named 'no' and 'yes', can be read as relevance."
    )


def answer_rows(model: Any, tokenizer: PromptTokenizer, name: str) -> torch.Tensor:
    """Return the rows of a reranker's head, `[2, hidden]` or `[1, hidden]`; see `answers`.

    The rows keep their gradient.

    Raises:
        ModelError: The head's labels cannot be read as relevance, or its weights cannot be read.
    """
    weight = float_weight(head_of(model))
    if weight is None:
        raise ModelError(
            f"The head of {name!r} is quantised in a way that is not known here "
            f"({type(head_of(model)).__name__}). Use a checkpoint whose head is not quantised."
        )
    return weight[list(answers(model, tokenizer, name))]


def _check_weights(
    model: Any, info: dict[str, Any], checkpoint: Checkpoint, tokenizer: PromptTokenizer, role: Role
) -> None:
    """Check that the checkpoint has all weights of a Qwen3 model and no others."""
    headless = role == "embedding"  # whatever is in the files

    def is_needed(key: str) -> bool:
        return not (key.endswith("inv_freq") or (headless and key.startswith("lm_head.")))

    foreign = sorted(
        key
        for key in info["unexpected_keys"]
        if is_needed(key) and not key.endswith("lm_head.weight")
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
    missing = set(filter(is_needed, info["missing_keys"]))
    if adapted_labels(checkpoint.adapters):  # the head is the adapter's
        missing.discard("score.weight")
    lacking = sorted(missing) + [str(key) for key in info["mismatched_keys"]]
    if lacking:
        raise ModelError(
            f"The checkpoint {checkpoint.name!r} lacks weights or has them in another shape: "
            f"{', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}. "
            "Fetch it again, or check that it was saved whole."
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
