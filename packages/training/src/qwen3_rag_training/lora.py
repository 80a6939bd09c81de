"""Low-rank adapters (LoRA): small matrices beside frozen weights, trained instead of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from qwen3_rag.errors import InputError
from qwen3_rag.integration import Checkpoint, require_extra

__all__ = ["LINEAR", "LoRA", "add_adapter", "merged", "write_adapter"]

#: The matrices of a Qwen3 layer.
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_ADAPTER_WEIGHTS = "adapter_model.safetensors"

# What peft calls the tasks of the models; it would train a classifier's head anew.
_TASKS = {"Qwen3Model": "FEATURE_EXTRACTION", "Qwen3ForCausalLM": "CAUSAL_LM"}


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Which adapter to train, and how to save it.

    Attributes:
        rank: Rank of the update of each matrix.
        alpha: The update is multiplied by `alpha / rank`.
        dropout: Share of the adapter's inputs that training sets to zero.
        targets: The matrices to adapt in every layer, names out of `LINEAR`.
        merged: Whether to add the update to the weights and save a whole checkpoint, instead of an
            adapter that needs its base model.
    """

    rank: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = LINEAR
    merged: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"`rank` must be at least 1, got {self.rank}.")
        if not 0 < self.alpha < float("inf"):
            raise InputError(f"`alpha` must be a positive number, got {self.alpha}.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` must be at least 0 and below 1, got {self.dropout}.")
        unknown = [name for name in self.targets if name not in LINEAR]
        if unknown or not self.targets:
            raise InputError(
                f"`targets` must be one or more of {', '.join(LINEAR)}, got {self.targets!r}."
            )


def require_peft() -> None:
    """Check that peft is installed.

    Raises:
        MissingExtraError: It is not.
    """
    require_extra("peft", "peft", "Training an adapter (LoRA)")


def add_adapter(model: PreTrainedModel, lora: LoRA, seed: int) -> nn.Module:
    """Freeze a model's weights and put a new adapter into it, which changes no output yet.

    Args:
        model: The model, changed in place.
        lora: The adapter.
        seed: Seed of the adapter's first values.

    Returns:
        peft's model around `model`, to train.

    Raises:
        MissingExtraError: peft is not installed.
    """
    require_peft()
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft takes fractions too
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type=_TASKS.get(type(model).__name__),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers 5.23 for a name that it is about to drop.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        torch.manual_seed(seed)
        adapted: nn.Module = get_peft_model(model, config)
    return adapted


def merged(adapted: nn.Module) -> PreTrainedModel:
    """Add an adapter's updates to the weights, and return the model without it."""
    whole: Any = adapted
    model: PreTrainedModel = whole.merge_and_unload()
    return model


def write_adapter(adapted: nn.Module, base: Checkpoint, revision: str | None, folder: Path) -> None:
    """Write an adapter's weights and config, without the base model's.

    Weights of an earlier run in the same folder are removed, because the folder would open as that
    checkpoint.

    Args:
        adapted: peft's model.
        base: The checkpoint that was adapted; the config names it, so that it can be found again.
        revision: Its commit on the Hub.
        folder: Target folder.
    """
    from peft import get_peft_model_state_dict

    for pattern in ("model*.safetensors", "model.safetensors.index.json", "config.json"):
        for stale in folder.glob(pattern):
            stale.unlink()
    model: Any = adapted
    # `False`, because peft would ask the Hub whether the embedding table has grown.
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / _ADAPTER_WEIGHTS, metadata={"format": "pt"})
    (folder / _ADAPTER_WEIGHTS).chmod(0o644)  # safetensors makes it readable by the owner only
    [config] = model.peft_config.values()
    config.base_model_name_or_path = base_name(base)
    config.revision = revision
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)  # a set, in another order every time
    config.save_pretrained(folder)


def base_name(base: Checkpoint) -> str:
    """Return the name by which peft, transformers and `qwen3_rag` find a base model.

    That is its id on the Hub, or its folder.
    """
    on_hub = not Path(base.name).expanduser().is_dir() and base.name.count("/") == 1
    return base.name if on_hub and ":" not in base.name else str(base.folder.resolve())
