"""What quantised models need: packages, arguments to load them, and care with their layers."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from typing import Any

import torch

from qwen3_rag.backends._checkpoint.files import find_files, read_header
from qwen3_rag.backends._checkpoint.hub import Checkpoint
from qwen3_rag.errors import MissingExtraError, ModelError

__all__ = ["decompress", "float_weight", "loading_arguments", "method_of", "rounds_inputs"]

# The methods that are opened, with the packages that transformers needs for each, as imported and
# as installed.
ACCELERATE = ("accelerate", "accelerate")
METHODS: dict[str, tuple[tuple[str, str], ...]] = {
    "bitsandbytes": (("bitsandbytes", "bitsandbytes"), ACCELERATE),
    "torchao": (("torchao", "torchao"), ACCELERATE),
    "compressed-tensors": (("compressed_tensors", "compressed-tensors"), ACCELERATE),
    "fp8": (ACCELERATE,),
    "gptq": (("gptqmodel", "gptqmodel"), ("optimum", "optimum"), ACCELERATE),
    "awq": (("gptqmodel", "gptqmodel"), ACCELERATE),
}


def method_of(config: Mapping[str, Any]) -> str | None:
    """Return the quantisation method that `config.json` names, `None` for plain weights."""
    settings = config.get("quantization_config")
    if settings is None:
        return None
    if settings.get("load_in_8bit") or settings.get("load_in_4bit"):
        return "bitsandbytes"  # as transformers decides it, whatever the method is called
    return str(settings.get("quant_method"))


def loading_arguments(
    config: Mapping[str, Any], device: str | None, checkpoint: Checkpoint
) -> dict[str, Any]:
    """Return the further arguments of `from_pretrained` for a quantised checkpoint.

    Args:
        config: The content of `config.json`.
        device: Where to put the weights, some of which cannot be moved later; `None` to let
            transformers choose.
        checkpoint: The checkpoint.

    Raises:
        ModelError: The method is not one that is run here, or scales are missing.
        MissingExtraError: A package that the method needs is not installed.
    """
    method = method_of(config)
    if method is None:
        return {}
    name = checkpoint.name
    if method not in METHODS:
        raise ModelError(
            f"{name!r} is quantised with {method!r}; only {', '.join(METHODS)} are opened here. "
            "Use the checkpoint that it was quantised from, or load the model with transformers "
            "and use `from_model`."
        )
    lacking = [
        package for module, package in METHODS[method] if importlib.util.find_spec(module) is None
    ]
    if lacking:
        raise MissingExtraError(
            f"{name!r} is quantised with {method!r}, which needs {' and '.join(lacking)}. Install "
            f"with: pip install {' '.join(lacking)}. Or use the checkpoint that it was quantised "
            "from."
        )
    if method == "fp8":
        # Products of FP8 weights would need kernels that transformers loads from the Hub.
        from transformers import FineGrainedFP8Config

        _check_scales(checkpoint)
        return {"quantization_config": FineGrainedFP8Config(dequantize=True)}
    return {"device_map": {"": device}} if device else {}


def _check_scales(checkpoint: Checkpoint) -> None:
    """Check that FP8 weights have their scales, without which transformers loads them as well."""
    types = {
        key: tensor.dtype
        for path in find_files(checkpoint.folder).weights
        for key, tensor in read_header(path).items()
    }
    for key, dtype in types.items():
        if dtype.startswith("F8") and f"{key}_scale_inv" not in types:
            raise ModelError(
                f"The checkpoint {checkpoint.name!r} lacks {key}_scale_inv, the scale of weights "
                "in FP8. Fetch it again, or check that it was saved whole."
            )


def decompress(model: Any, *, plain: bool) -> None:
    """Decompress the weights of compressed-tensors.

    The model would do it before its own first pass, which the engine does not run.

    Args:
        model: A loaded model, quantised by any method or by none.
        plain: Whether layers whose inputs are not rounded become plain layers again.
    """
    hook = getattr(model, "ct_decompress_hook", None)
    if hook is None:
        return
    from compressed_tensors.compressors import decompress_module

    for module in model.modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is not None:
            decompress_module(module, leave_decompressed=not plain or _rounds(scheme))
    hook.remove()
    del model.ct_decompress_hook


def rounds_inputs(model: Any) -> bool:
    """Whether layers round their inputs too, so that results depend on every rounding before.

    For such a model, only the very same operations in the same order give transformers' numbers.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear8bitLt":  # of bitsandbytes
            logging.getLogger("bitsandbytes.autograd._functions").addFilter(_is_not_about_casts)
            return True
        if (scheme := getattr(module, "quantization_scheme", None)) and _rounds(scheme):
            return True
        if getattr(getattr(module, "weight", None), "act_quant_kwargs", None) is not None:
            return True  # a tensor of torchao
    return False


def float_weight(module: Any) -> torch.Tensor | None:
    """Return the weight of a layer in a floating-point type, `None` if it cannot be told.

    The result keeps its gradient if the weight is a plain one.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return None
    if type(weight).__name__ in ("Int8Params", "Params4bit"):
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        state = getattr(module, "state", None)  # of 8-bit layers
        result: torch.Tensor = dequantize_bnb_weight(module.weight, state)
        return result
    if not weight.is_floating_point():
        return None
    if type(weight) in (torch.Tensor, torch.nn.Parameter):
        return weight
    return weight.dequantize()  # a tensor of torchao


def _rounds(scheme: Any) -> bool:
    """Whether a scheme of compressed-tensors rounds inputs or outputs."""
    return scheme.input_activations is not None or scheme.output_activations is not None


def _is_not_about_casts(record: logging.LogRecord) -> bool:
    """Drop the message that bitsandbytes would log for each product in float32 or bfloat16."""
    return "inputs will be cast" not in record.msg
