"""Quantises checkpoints with transformers and the packages of the methods."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

__all__ = ["PACKAGES", "quantise"]

#: The package that each way to quantise needs.
PACKAGES = {
    "bitsandbytes int8": "bitsandbytes",
    "bitsandbytes nf4": "bitsandbytes",
    "bitsandbytes fp4 twice": "bitsandbytes",
    "torchao int8": "torchao",
    "torchao int8, inputs too": "torchao",
    "compressed-tensors W4A16": "compressed_tensors",
    "compressed-tensors W8A8": "compressed_tensors",
    "compressed-tensors FP8": "compressed_tensors",
    "fp8": "accelerate",
}

BLOCK = 128  # rows and columns that share a scale in FP8 checkpoints


def quantise(source: Path, target: Path, way: str, *, kept: tuple[str, ...]) -> Path:
    """Write a quantised copy of a checkpoint, or skip the test where a package is missing.

    Args:
        source: A checkpoint with plain weights.
        target: Where to write.
        way: One of `PACKAGES`.
        kept: Names of the layers to leave as they are.
    """
    if find_spec(PACKAGES[way]) is None:
        pytest.skip(f"{PACKAGES[way]} is not installed")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    method, _, kind = way.partition(" ")
    write: Callable[[Path, Path, str, tuple[str, ...]], None] = {
        "bitsandbytes": _bitsandbytes,
        "torchao": _torchao,
        "compressed-tensors": _compressed,
        "fp8": _blocks_of_fp8,
    }[method]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao's and compressed-tensors' own
        write(source, target, kind, kept)
    return target


def _class_of(folder: Path) -> Any:
    made_as = json.loads((folder / "config.json").read_text())["architectures"][0]
    if "SequenceClassification" in made_as:
        return AutoModelForSequenceClassification
    return AutoModelForCausalLM if "CausalLM" in made_as else AutoModel


def _bitsandbytes(source: Path, target: Path, kind: str, kept: tuple[str, ...]) -> None:
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_8bit=kind == "int8",
        load_in_4bit=kind != "int8",
        bnb_4bit_quant_type=kind[:3],
        bnb_4bit_use_double_quant=kind.endswith("twice"),
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=[*kept, "none"],  # with an empty list, transformers chooses
    )
    _with_transformers(source, target, config)


def _torchao(source: Path, target: Path, kind: str, kept: tuple[str, ...]) -> None:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    inner = Int8WeightOnlyConfig if kind == "int8" else Int8DynamicActivationInt8WeightConfig
    config = TorchAoConfig(inner(version=2), modules_to_not_convert=[*kept, "none"])
    _with_transformers(source, target, config)


def _with_transformers(source: Path, target: Path, config: Any) -> None:
    model = _class_of(source).from_pretrained(
        source, dtype=torch.float32, quantization_config=config, device_map="cpu"
    )
    model.save_pretrained(target)


def _compressed(source: Path, target: Path, kind: str, kept: tuple[str, ...]) -> None:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )
    from compressed_tensors.quantization.utils import calculate_qparams

    model = _class_of(source).from_pretrained(source, dtype=torch.float32)
    scheme = preset_name_to_scheme(kind, ["Linear"])
    if scheme.weights.strategy == "group":
        scheme.weights.group_size = 32  # small layers have no 128 columns
    config = QuantizationConfig(
        config_groups={"all": scheme},
        ignore=list(kept),
        quantization_status="frozen",
    )
    apply_quantization_config(model, config)
    for layer in model.modules():
        if (scheme := getattr(layer, "quantization_scheme", None)) is None:
            continue
        weight = layer.weight.data
        if scheme.weights.strategy == "group":
            weight = weight.unflatten(1, (-1, scheme.weights.group_size))
        elif scheme.weights.strategy == "tensor":
            weight = weight.flatten()
        keep = scheme.weights.strategy == "channel"
        scale, zero = calculate_qparams(
            weight.amin(-1, keepdim=keep), weight.amax(-1, keepdim=keep), scheme.weights
        )
        layer.weight_scale.data.copy_(scale)
        if hasattr(layer, "weight_zero_point"):
            layer.weight_zero_point.data.copy_(zero)
        if hasattr(layer, "input_scale"):
            layer.input_scale.data.fill_(0.05)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(target, state_dict=model.state_dict())
    compressor.update_config(target)


def _blocks_of_fp8(source: Path, target: Path, kind: str, kept: tuple[str, ...]) -> None:
    tensors = {}
    for name, weight in load_file(source / "model.safetensors").items():
        chosen = "proj" in name or name in ("lm_head.weight", "score.weight")
        if not chosen or any(each in name for each in kept):
            tensors[name] = weight
            continue
        rows, columns = weight.shape
        blocks = torch.zeros(-(-rows // BLOCK) * BLOCK, -(-columns // BLOCK) * BLOCK)
        blocks[:rows, :columns] = weight.float()
        down, across = (size // BLOCK for size in blocks.shape)
        blocks = blocks.view(down, BLOCK, across, BLOCK)
        scale = blocks.abs().amax((1, 3)).clamp(min=1e-12) / 448  # the largest number of the format
        small = (blocks / scale[:, None, :, None]).flatten(2).flatten(0, 1)
        tensors[name] = small[:rows, :columns].to(torch.float8_e4m3fn).contiguous()
        tensors[f"{name}_scale_inv"] = scale
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
        "modules_to_not_convert": list(kept),
    }
    (target / "config.json").write_text(json.dumps(config))
