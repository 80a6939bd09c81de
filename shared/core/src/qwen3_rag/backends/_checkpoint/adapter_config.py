"""Checks an adapter (PEFT) beside a checkpoint's weights, before peft allocates its matrices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qwen3_rag.backends._checkpoint.files import read_header, read_json, shortened
from qwen3_rag.errors import ModelError

__all__ = ["check_adapter"]

# Fields that repeat layers, or import a module of any name and run it.
REFUSED = ("layer_replication", "megatron_config")

# Fields of adapter_config.json with patterns for names of modules, some as keys.
PATTERNS = (
    *("target_modules", "exclude_modules", "layers_pattern", "rank_pattern", "alpha_pattern"),
)

# A pattern may take time that grows with the power of its repetitions, and exponentially if one is
# inside another.
REPETITION = re.compile(r"(?<!\\)[*+{]")
NESTED = re.compile(r"(?<!\\)\)[*+{]")
MAX_REPETITIONS = 4


def check_adapter(config: Path, weights: Iterable[Path]) -> None:
    """Check ranks and patterns of `adapter_config.json` against the adapter's own weights.

    Args:
        config: The path of `adapter_config.json`.
        weights: The paths of the adapter's safetensors files.

    Raises:
        ModelError: A file cannot be read, or a value is not allowed.
    """
    settings = read_json(config)
    if not isinstance(settings, Mapping):
        raise ModelError(f"{str(config)!r} holds no settings. Save the adapter again with peft.")
    for field in REFUSED:
        if settings.get(field) is not None:
            raise _wrong(config, field, settings[field], "null; it is not supported here")
    sizes = [size for path in weights for each in read_header(path).values() for size in each.shape]
    largest = max(sizes, default=0)
    for field, rank in _ranks(settings):
        if type(rank) is not int or not 0 < rank <= largest:
            raise _wrong(config, field, rank, f"a size of its weights, 1 to {largest:,}")
    for field in PATTERNS:
        for pattern in _patterns(settings.get(field)):
            if len(REPETITION.findall(pattern)) > MAX_REPETITIONS or NESTED.search(pattern):
                words = (
                    f"names, or patterns with at most {MAX_REPETITIONS} repetitions, none nested"
                )
                raise _wrong(config, field, pattern, words)


def _ranks(settings: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if settings.get("r") is not None:
        yield "r", settings["r"]
    special = settings.get("rank_pattern")
    for rank in special.values() if isinstance(special, Mapping) else ():
        yield "rank_pattern", rank


def _patterns(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | Mapping):
        yield from (each for each in value if isinstance(each, str))


def _wrong(config: Path, field: str, value: object, words: str) -> ModelError:
    return ModelError(
        f"{str(config)!r} has {field} = {shortened(value)}; it must be {words}. "
        "Correct it, or save the adapter again with peft."
    )
