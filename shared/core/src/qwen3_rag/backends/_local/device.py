"""Chooses devices, number format, batch size and threads to suit the machine."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from qwen3_rag.backends._local.cpus import allowed_threads
from qwen3_rag.errors import InputError

__all__ = [
    "choose_devices",
    "choose_dtype",
    "cpu_has_bfloat16",
    "default_budget",
    "empty_cache",
    "keep_freed_memory",
    "onednn_takes_bfloat16",
    "used_threads",
]

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Tokens per batch. On a CPU, larger batches are no faster (1,024 to 8,192 tokens differ by a few
# percent), and a query waits longer for them.
BUDGETS = {"cpu": 2_048, "mps": 8_192, "cuda": 32_768}

# Just below glibc's `DEFAULT_MMAP_THRESHOLD_MAX`: freeing a block of this size raises glibc's
# thresholds to their maximum.
LARGEST_LEARNT = (32 << 20) - (8 << 10)


def choose_devices(device: str | Sequence[str] | None) -> tuple[str, ...]:
    """Choose the devices to run on.

    Args:
        device: A torch device, several of them, or `None` for CUDA, else MPS, else CPU.

    Raises:
        InputError: Torch does not know the device, or the machine does not have it.
    """
    if device is None:
        if torch.cuda.is_available():
            return ("cuda:0",)
        return ("mps",) if torch.backends.mps.is_available() else ("cpu",)
    chosen = []
    for name in (device,) if isinstance(device, str) else device:
        try:
            parsed = torch.device(name)
        except RuntimeError as error:
            raise InputError(
                f"`device` {name!r} is not one torch knows. Use 'cpu', 'cuda', 'cuda:1' or 'mps'."
            ) from error
        available = {
            "cpu": 1,
            "cuda": torch.cuda.device_count(),
            "mps": int(torch.backends.mps.is_available()),
        }.get(parsed.type, 0)
        if (parsed.index or 0) >= available:
            raise InputError(
                f"`device` {name!r} is not available here: torch sees {available} of type "
                f"{parsed.type!r}. Omit `device` to use the best there is."
            )
        chosen.append(f"cuda:{parsed.index or 0}" if parsed.type == "cuda" else parsed.type)
    return tuple(dict.fromkeys(chosen))


def choose_dtype(dtype: str | None, device: str, *, hidden_size: int) -> torch.dtype:
    """Choose the number format.

    The default is bfloat16 where the hardware supports it, else float32. float16 is used on request
    only, and rejected for the 8B models, whose activations overflow (QwenLM/Qwen3-Embedding#164).

    Args:
        dtype: `"float32"`, `"bfloat16"`, `"float16"` or `None` to choose.
        device: As `choose_devices` returned it.
        hidden_size: The checkpoint's hidden size.

    Raises:
        InputError: The format is unknown, or float16 was requested for an 8B model.
    """
    if dtype is None:
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if dtype not in DTYPES:
        raise InputError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    if dtype == "float16" and hidden_size >= 4096:
        raise InputError(
            "`dtype` 'float16' overflows in the 8B models and gives NaN. Use 'bfloat16'."
        )
    return DTYPES[dtype]


def _multiplies_bfloat16(device: str) -> bool:
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device)[0] >= 8  # Ampere; older GPUs emulate it
    return device == "cpu" and cpu_has_bfloat16()


def keep_freed_memory() -> None:
    """Let glibc keep the memory of one batch for the next.

    By default, glibc returns large freed blocks to the system at once. For short texts, the
    resulting page faults in the next batch took a tenth of the time. Once a large block has been
    freed, it keeps up to twice its size. This has no effect with another C library or with
    `MALLOC_` variables set.
    """
    torch.empty(LARGEST_LEARNT, dtype=torch.uint8)


def empty_cache(device: str) -> None:
    """Release cached memory: torch's, or glibc's on a CPU."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
    elif sys.platform == "linux":
        with suppress(AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


def default_budget(device: str) -> int:
    """Return the default number of tokens per batch."""
    return BUDGETS.get(device.partition(":")[0], BUDGETS["cpu"])


@cache
def cpu_has_bfloat16() -> bool:
    """Whether bfloat16 is multiplied natively on this CPU (AMX or AVX512-BF16).

    Without either, or where `ONEDNN_MAX_CPU_ISA` keeps oneDNN from using them, bfloat16 is emulated
    and slower than float32.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return ("avx512_bf16" in flags or "amx_bf16" in flags) and onednn_takes_bfloat16()


def onednn_takes_bfloat16() -> bool:
    """Whether oneDNN, which multiplies matrices on a CPU, supports bfloat16 here."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch without oneDNN
        return False


def used_threads() -> int:
    """Count the threads to compute with: torch's, but no more than there are CPUs to use.

    Torch counts the host's cores; in a container with a CPU quota, that many threads are slower.
    """
    return min(torch.get_num_threads(), allowed_threads())
