"""Checks the values of `config.json`, and compares the sizes with the weights before loading."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any

from qwen3_rag._published import Role
from qwen3_rag.backends._checkpoint.files import (
    CheckpointFiles,
    Tensor,
    read_header,
    shortened,
)
from qwen3_rag.errors import ModelError

__all__ = ["check_config", "check_weights"]

Shape = tuple[int, ...]

# The sizes with the values that transformers takes where config.json has none.
SIZES = {
    "vocab_size": 151_936,
    "hidden_size": 4_096,
    "intermediate_size": 22_016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 128,
}
LARGEST = 2**24

# The prompt of the reranker takes about 90 tokens.
SHORTEST_CONTEXT = 128
LONGEST_CONTEXT = 2**31

SWITCHES = ("attention_bias", "tie_word_embeddings", "use_cache", "use_sliding_window")
DTYPES = ("bfloat16", "float16", "float32", "float64")

# Settings that make transformers read other files, replace parts of the model by other code, or
# read one setting where another is meant.
REFUSED = (
    *("attribute_map", "configuration_files", "distributed_config", "fusion_config"),
    *("kernel_config", "per_layer_config", "sub_configs", "sub_configs_defaults", "text_config"),
    *("transformers_weights", "trust_remote_code", "use_kernels"),
)
IMPLEMENTATIONS = (
    *("attn_implementation", "_attn_implementation"),
    *("experts_implementation", "_experts_implementation"),
)

LAYER = re.compile(r"layers\.(0|[1-9]\d{0,7})\.(.+)")

# A quantised checkpoint has other tensors. One byte of it holds at most this many numbers.
NUMBERS_PER_BYTE = 8


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e15


def _is_names(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _is_implementation(value: Any) -> bool:
    return value is None or (isinstance(value, str) and "/" not in value)


def _is_rope(value: Any) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and _is_positive(value.get("rope_theta", 1))
        and value.get("partial_rotary_factor", 1) == 1
    )


# Fields with what is allowed for each, as a test and in words.
RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (
        tuple(SIZES),
        lambda value: _is_whole(value, 1, LARGEST),
        f"a whole number from 1 to {LARGEST:,}",
    ),
    (
        ("max_position_embeddings",),
        lambda value: _is_whole(value, SHORTEST_CONTEXT, LONGEST_CONTEXT),
        f"the longest input in tokens, {SHORTEST_CONTEXT} to {LONGEST_CONTEXT:,}",
    ),
    (("num_labels",), lambda value: _is_whole(value, 1, 1_000), "a whole number from 1 to 1,000"),
    (SWITCHES, lambda value: isinstance(value, bool), "true or false"),
    (("rms_norm_eps", "rope_theta"), _is_positive, "a positive number"),
    (("architectures", "layer_types"), _is_names, "a list of names"),
    (
        ("dtype", "torch_dtype"),
        lambda value: value is None or (isinstance(value, str) and value in DTYPES),
        f"one of {', '.join(DTYPES)}",
    ),
    (("partial_rotary_factor",), lambda value: value == 1, "1"),
    (
        ("rope_parameters", "rope_scaling"),
        _is_rope,
        "a dictionary with a positive `rope_theta` and no partial rotation",
    ),
    (
        ("quantization_config", "id2label"),
        lambda value: value is None or isinstance(value, Mapping),
        "a dictionary",
    ),
    (
        IMPLEMENTATIONS,
        _is_implementation,
        "the name of an implementation in transformers; none is loaded from the Hub",
    ),
)


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Check the type and range of every setting that sizes and computations depend on.

    Args:
        config: The content of `config.json`.
        name: The model's name, for messages.

    Raises:
        ModelError: A value is not allowed; the message names field, value and what is allowed.
    """
    for field in config:
        if field in REFUSED or field.startswith("__"):
            raise ModelError(
                f"config.json of {name!r} has {shortened(field)}, which can make transformers use "
                "other files, code or sizes than the checkpoint's own. No Qwen3 checkpoint needs "
                "it; remove the setting."
            )
    for fields, allowed, words in RULES:
        for field in fields:
            # transformers takes a value from another setting for this one alone.
            absent = field == "num_key_value_heads" and config.get(field) is None
            if field in config and not absent and not allowed(config[field]):
                raise _wrong(name, field, config[field], words)
    _check_relations(config, name)


def _check_relations(config: Mapping[str, Any], name: str) -> None:
    """Check the values that others limit."""
    sizes = _sizes(config)
    last = sizes["vocab_size"] - 1
    pad = config.get("pad_token_id")
    if pad is not None and not _is_whole(pad, -1, last):
        raise _wrong(name, "pad_token_id", pad, f"a row of the embedding table, 0 to {last:,}")
    heads, shared = sizes["num_attention_heads"], sizes["num_key_value_heads"]
    if heads % shared:
        raise _wrong(name, "num_key_value_heads", shared, f"a divisor of {heads}, the heads")
    if sizes["head_dim"] % 2:
        raise _wrong(name, "head_dim", sizes["head_dim"], "even")
    kinds, count = config.get("layer_types"), sizes["num_hidden_layers"]
    if kinds is not None and len(kinds) != count:
        raise _wrong(name, "layer_types", kinds, f"a list of {count:,} names, one per layer")


def _wrong(name: str, field: str, value: object, words: str) -> ModelError:
    return ModelError(
        f"config.json of {name!r} has {field} = {shortened(value)}; it must be {words}. "
        "Correct it, or fetch the checkpoint again."
    )


def check_weights(
    files: CheckpointFiles, config: Mapping[str, Any], role: Role, name: str, *, renamed: bool
) -> None:
    """Compare the weights' names and shapes, from the headers of their files, with `config.json`.

    Args:
        files: The checkpoint's files.
        config: The content of `config.json`, checked.
        role: Whether the checkpoint embeds or reranks.
        name: The model's name, for messages.
        renamed: Whether the caller maps the tensors' names to others.

    Raises:
        ModelError: A tensor is missing, superfluous or of another shape.
    """
    tensors: dict[str, Tensor] = {}
    for path in files.weights:
        for key, tensor in read_header(path).items():
            short = key.removeprefix("model.")
            if short in tensors:
                raise ModelError(
                    f"The checkpoint {name!r} has two tensors {key[:80]!r}. Fetch it again, or "
                    "save it with save_pretrained."
                )
            tensors[short] = tensor
    top, layer = _shapes(config, role)
    if renamed or config.get("quantization_config") is not None:
        _check_total(tensors.values(), top, layer, config, name)
    else:
        _check_names(tensors, top, layer, config, name)
        _check_shapes(tensors, top, layer, config, name)


def _shapes(config: Mapping[str, Any], role: Role) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """List the tensors outside the layers and those of each layer."""
    sizes = _sizes(config)
    hidden, inner, width = sizes["hidden_size"], sizes["intermediate_size"], sizes["head_dim"]
    queries = sizes["num_attention_heads"] * width
    keys = sizes["num_key_value_heads"] * width
    top: dict[str, Shape] = {
        "embed_tokens.weight": (sizes["vocab_size"], hidden),
        "norm.weight": (hidden,),
    }
    if role == "reranking":
        if any("SequenceClassification" in each for each in config.get("architectures") or ()):
            labels = config.get("id2label") or range(config.get("num_labels", 2))
            top["score.weight"] = (len(labels), hidden)
        elif not config.get("tie_word_embeddings", False):
            top["lm_head.weight"] = top["embed_tokens.weight"]
    layer: dict[str, Shape] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_norm.weight": (width,),
        "self_attn.k_norm.weight": (width,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.get("attention_bias", False):
        for part in "qkvo":
            layer[f"self_attn.{part}_proj.bias"] = layer[f"self_attn.{part}_proj.weight"][:1]
    return top, layer


def _check_total(
    tensors: Iterable[Tensor],
    top: Mapping[str, Shape],
    layer: Mapping[str, Shape],
    config: Mapping[str, Any],
    name: str,
) -> None:
    """Check that there are bytes enough for the weights, whatever they are called."""
    count = sum(map(math.prod, top.values()))
    count += _sizes(config)["num_hidden_layers"] * sum(map(math.prod, layer.values()))
    found = sum(tensor.stop - tensor.start for tensor in tensors)
    if count > NUMBERS_PER_BYTE * found:
        raise ModelError(
            f"config.json of {name!r} describes {count:,} weights ({_told(config)}), and its files "
            f"hold {found:,} bytes. They are not of one checkpoint; fetch it again."
        )


def _check_names(
    tensors: Mapping[str, Tensor],
    top: Mapping[str, Shape],
    layer: Mapping[str, Shape],
    config: Mapping[str, Any],
    name: str,
) -> None:
    """Check that the checkpoint has all tensors of a Qwen3 model and no others."""
    count = _sizes(config)["num_hidden_layers"]
    foreign = [
        key
        for key in tensors
        if key not in top
        and not key.endswith(("lm_head.weight", "inv_freq"))
        and not ((match := LAYER.fullmatch(key)) and match[2] in layer and int(match[1]) < count)
    ]
    if foreign:
        raise ModelError(
            f"The checkpoint {name!r} has weights that Qwen3 does not have: "
            f"{', '.join(each[:80] for each in sorted(foreign)[:3])} (num_hidden_layers = {count})."
            " Its numbers would be wrong here; use the software it was published for."
        )
    needed = chain(top, (f"layers.{index}.{part}" for index in range(count) for part in layer))
    # No more than are shown: config.json may claim any number of layers.
    lacking = list(islice((key for key in needed if key not in tensors), 4))
    if lacking:
        raise ModelError(
            f"The checkpoint {name!r} lacks weights that its config.json describes (with "
            f"num_hidden_layers = {count}): {', '.join(lacking[:3])}"
            f"{' and more' if len(lacking) > 3 else ''}. "
            "Fetch it again, or check that it was saved whole."
        )


def _check_shapes(
    tensors: Mapping[str, Tensor],
    top: Mapping[str, Shape],
    layer: Mapping[str, Shape],
    config: Mapping[str, Any],
    name: str,
) -> None:
    """Check that the tensors are numbers, in the shapes that `config.json` describes."""
    for key, tensor in tensors.items():
        match = LAYER.fullmatch(key)
        shape = layer[match[2]] if match else top.get(key, tensor.shape)
        if tensor.shape != shape:
            raise ModelError(
                f"The checkpoint {name!r} has weights in another shape than its config.json "
                f"describes: {key} is {list(tensor.shape)}, not {list(shape)} ({_told(config)}). "
                "They are not of one checkpoint; fetch it again."
            )
        if "F" not in tensor.dtype:
            raise ModelError(
                f"The checkpoint {name!r} has {key} of the type {tensor.dtype}, and its "
                "config.json has no quantization_config that tells how to read it. Fetch it again."
            )


def _sizes(config: Mapping[str, Any]) -> dict[str, int]:
    sizes = {field: config.get(field, default) for field, default in SIZES.items()}
    if sizes["num_key_value_heads"] is None:
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    return sizes


def _told(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} = {size}" for field, size in _sizes(config).items())
