"""Finds the checkpoint that training starts from, and refuses what would be trained wrongly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from qwen3_rag.backends import Role
from qwen3_rag.errors import ModelError
from qwen3_rag.integration import Checkpoint, resolve_checkpoint
from qwen3_rag_training.lora import LoRA

__all__ = ["find_start"]

# Quantised weights that gradients pass through, so that an adapter beside them can be trained.
_ADAPTABLE = ("bitsandbytes",)


def find_start(model: str | os.PathLike[str], role: Role, lora: LoRA | None) -> Checkpoint:
    """Find the checkpoint to start from, download it if necessary, and check its files.

    Args:
        model: A folder, an id, or `"tiny"`.
        role: Whether the result shall embed or rerank.
        lora: The adapter to train, `None` to train all weights.

    Raises:
        ModelError: It does not exist, cannot be run by the model classes, is of the other role, or
            cannot be trained.
    """
    if (Path(model) / "adapter_config.json").is_file():  # its base model may not be at hand
        raise _is_adapter(str(model))
    checkpoint = resolve_checkpoint(os.fspath(model), role)
    if checkpoint.adapters:
        raise _is_adapter(checkpoint.name)
    _check_quantisation(checkpoint, lora)
    _check_end(checkpoint, role)
    return checkpoint


def _is_adapter(name: str) -> ModelError:
    return ModelError(
        f"{name!r} is an adapter, and training from an adapter is not implemented. Start from "
        "its base model, or add the adapter to it first: train with `merged`, or use "
        "`merge_and_unload` of peft."
    )


def _check_quantisation(checkpoint: Checkpoint, lora: LoRA | None) -> None:
    config: dict[str, Any] = json.loads(
        (checkpoint.folder / "config.json").read_text(encoding="utf-8-sig")
    )
    settings = config.get("quantization_config")
    if settings is None:
        return
    method = settings.get("quant_method") if isinstance(settings, dict) else settings
    name = f"{checkpoint.name!r} is quantised ({method})"
    if method not in _ADAPTABLE:
        raise ModelError(
            f"{name}, and such weights cannot be trained, with or without an adapter. "
            "Start from the checkpoint that it was quantised from."
        )
    if lora is None:
        raise ModelError(
            f"{name}, and quantised weights cannot be trained. Train an adapter beside them (LoRA),"
            " or start from the checkpoint that it was quantised from."
        )
    if lora.merged:
        raise ModelError(
            f"{name}: an adapter merged into quantised weights would be rounded away. Save it as an"
            " adapter (without `merged`), or start from the checkpoint that it was quantised from."
        )


def _check_end(checkpoint: Checkpoint, role: Role) -> None:
    """Check by the tokenizer what the model does: embedding models' append an end token.

    Checkpoints without module files show their task in no other way.
    """
    file = checkpoint.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(
            f"The tokenizer of {checkpoint.name!r} cannot be read: {error}. The folder needs the "
            "checkpoint's tokenizer.json."
        ) from error
    appended = tokenizer.encode("a").ids != tokenizer.encode("a", add_special_tokens=False).ids
    if role == "reranking" and appended:
        raise ModelError(
            f"The tokenizer of {checkpoint.name!r} appends an end token, as an embedding model's "
            "does and a reranker's does not. Start a reranker from a reranking model."
        )
    if role == "embedding" and not appended:
        raise ModelError(
            f"The tokenizer of {checkpoint.name!r} appends no end token, so it belongs to a "
            "reranker or a chat model, and the trained vectors would differ in other software. "
            "Start from an embedding model, or put the tokenizer.json of one with the same "
            "vocabulary into the folder."
        )
