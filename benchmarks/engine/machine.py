"""A description of the machine, and its peak speed of matrix products."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine.models import Shapes
from benchmarks.engine.timing import Row

__all__ = ["machine", "matmul_peak"]

TOKENS = 1_024
"""Rows of the matrix products."""

SIDE = 2_048
TRIES = 10


def machine(device: str) -> dict[str, Any]:
    """Describe the processor, the threads and the library versions."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    fields = dict(line.partition(":")[::2] for line in text.split("\n\n")[0].splitlines())
    cpu = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(cpu.get("flags", "").split())
    found = {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "flags": sorted(flags & {"amx_bf16", "avx512_bf16", "avx512f", "avx2"}),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    packages = ("torch", "transformers", "sentence-transformers")
    return {**found, **{name: importlib.metadata.version(name) for name in packages}}


def matmul_peak(model: str, shapes: Shapes, device: str, dtype: str) -> list[Row]:
    """Measure a square matrix product and those of the layers."""
    products = {
        f"plain, {SIDE} x {SIDE} x {SIDE}": (SIDE, SIDE, SIDE),
        **{
            f"{name}, {TOKENS} x {inputs} x {outputs}": (TOKENS, inputs, outputs)
            for name, (inputs, outputs) in shapes.products.items()
        },
    }
    about = {"section": "matmul peak", "model": model}
    return [
        {**about, "case": case, "flops": _flops(sizes, device, getattr(torch, dtype))}
        for case, sizes in products.items()
    ]


def _flops(sizes: tuple[int, int, int], device: str, dtype: torch.dtype) -> float:
    rows, inputs, outputs = sizes
    left = torch.randn(rows, inputs, device=device).to(dtype)
    right = torch.randn(outputs, inputs, device=device).to(dtype)
    took = []
    with torch.inference_mode():
        for _ in range(TRIES + 1):
            _wait(device)
            start = time.perf_counter()
            torch.nn.functional.linear(left, right)
            _wait(device)
            took.append(time.perf_counter() - start)
    return 2 * rows * inputs * outputs / min(took)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
