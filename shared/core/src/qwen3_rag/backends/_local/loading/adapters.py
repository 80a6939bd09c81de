"""Adds an adapter of peft, such as LoRA, to the weights of its base model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from qwen3_rag.backends._checkpoint.files import ADAPTER, read_header, shortened
from qwen3_rag.errors import ModelError

__all__ = ["adapted_labels", "add_adapter"]

PREFIX = "base_model.model."


def add_adapter(model: Any, folder: Path) -> Any:
    """Add an adapter's updates to a model's weights, head included.

    Args:
        model: A transformers Qwen3 model, changed in place.
        folder: The adapter's folder, with `adapter_config.json` and `adapter_model.safetensors`.

    Returns:
        The model without any trace of peft.

    Raises:
        ModelError: The adapter cannot be added to weights, belongs to another model, is
            incomplete, or its base is quantised.
    """
    from peft import PeftModel, set_peft_model_state_dict

    if getattr(model, "quantization_method", None) is not None:
        raise ModelError(
            f"The adapter {str(folder)!r} cannot be added to quantised weights. Load both with "
            "peft and give the model to `from_model`, or add the adapter to the base model before "
            "that is quantised."
        )
    config = _read_config(folder)
    state = _for_model(load_file(folder / ADAPTER), model)
    _prepare_embeddings(model, state)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tied weights, and names transformers will drop
            adapted = PeftModel(model, config)
            _check_names(adapted, state, folder)
            set_peft_model_state_dict(adapted, state)
            whole = adapted.merge_and_unload()
    except ModelError:
        raise
    except Exception as error:  # peft raises errors of many kinds
        raise ModelError(
            f"The adapter {str(folder)!r} ({config.peft_type}) cannot be added to the weights of "
            f"its base model: {shortened(str(error))}. Add it with peft's `merge_and_unload` and "
            "open the result."
        ) from error
    return whole


def adapted_labels(folders: Sequence[Path]) -> int:
    """Return the number of labels of the classification head that adapters bring, 0 without one."""
    shapes = [
        tensor.shape
        for folder in folders
        for name, tensor in read_header(folder / ADAPTER).items()
        if name.endswith("score.weight")
    ]
    return shapes[-1][0] if shapes and shapes[-1] else 0


def _read_config(folder: Path) -> Any:
    from peft import PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # json's errors, and peft's for unknown kinds and fields
        raise ModelError(
            f"adapter_config.json of {str(folder)!r} cannot be understood: "
            f"{shortened(str(error))}. Save the adapter again, or upgrade peft."
        ) from error
    if config.is_prompt_learning:
        raise ModelError(
            f"The adapter {str(folder)!r} ({config.peft_type}) adds virtual tokens, which changes "
            "the prompt. Only adapters on the weights, such as LoRA, can be used."
        )
    # For a task, peft would ask for methods that only generating models have, or make new heads.
    config.task_type = None
    config.inference_mode = True
    return config


def _for_model(state: Mapping[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """Name an adapter's tensors as the model's parts are named, with or without `model.`.

    An embedding model may have been adapted with its language-model head around it, and a reranker
    without.
    """
    has_head = hasattr(model, "model")
    named = {}
    for name, tensor in state.items():
        if ".original_module." in name:
            continue  # peft saves an input table twice: as it was, and as it is
        if not name.startswith(PREFIX):  # shared by all layers, as the projections of VeRA are
            named[name] = tensor
            continue
        path = name.removeprefix(PREFIX).replace(".modules_to_save.", ".")
        inner = path.removeprefix("model.")
        if has_head:
            path = path if inner.startswith(("lm_head.", "score.")) else f"model.{inner}"
        elif inner.startswith("lm_head."):
            continue  # the vectors do not depend on it
        else:
            path = inner
        named[PREFIX + path] = tensor
    return named


def _prepare_embeddings(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Give the model as many tokens as the adapter has, and a head of its own if one is adapted."""
    touched = [name for name in state if re.search(r"\b(embed_tokens|lm_head)\b", name)]
    rows = {
        len(state[name]) for name in touched if re.search(r"(embed_tokens|lm_head)\.weight$", name)
    }
    if rows and rows != {model.config.vocab_size}:
        model.resize_token_embeddings(max(rows), mean_resizing=False)
    head = getattr(model, "lm_head", None)
    if touched and head is not None and head.weight is model.get_input_embeddings().weight:
        # What is added to one of the two must not change the other.
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        model.config.tie_word_embeddings = False


def _check_names(adapted: Any, state: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Check that the adapter has a tensor for each of its places in the model, and no others."""
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    whole = dict(adapted.named_parameters())
    lacking = sorted(wanted.keys() - state.keys())
    foreign = sorted(name for name in state if name not in wanted and name not in whole)
    other = sorted(
        name for name in state.keys() & wanted.keys() if state[name].shape != wanted[name].shape
    )
    if lacking or foreign or other:
        kind, names = next(
            (kind, names)
            for kind, names in (
                ("lacks", lacking),
                ("has in another shape", other),
                ("has for a part that the model lacks", foreign),
            )
            if names
        )
        raise ModelError(
            f"{ADAPTER} of {str(folder)!r} {kind}: {', '.join(names[:3])}"
            f"{' and more' if len(names) > 3 else ''}. Check that its base model is the one that "
            "was adapted, or save the adapter again."
        )
