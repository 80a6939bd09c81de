"""Products with a weight, fused with the element-wise operation that follows them.

On a CPU they run through oneDNN's fused operators over weights that are reordered once, where
torch has these operators and they pass a check; elsewhere as plain modules.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch.nn import functional

__all__ = ["Linear", "PlainLinear", "ReorderedLinear", "can_reorder", "linear"]

# oneDNN chooses its layout for this number of rows; other numbers of rows work as well.
ROWS = 512

logger = logging.getLogger("qwen3_rag")


class Linear(Protocol):
    """`rows @ weight.T`, alone or with an element-wise operation. Rows are `[tokens, width]`."""

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute `linear(rows)`."""
        ...

    def linear_silu(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute `silu(linear(rows))`."""
        ...

    def linear_mul(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Compute `linear(rows) * other`."""
        ...

    def linear_add(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Compute `linear(rows) + other`."""
        ...


class PlainLinear:
    """Calls a module of any kind: a plain layer, a quantised one, one with an adapter."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._module(rows)
        return result

    def linear_silu(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.silu(self(rows), inplace=True)

    def linear_mul(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return self(rows).mul_(other)

    def linear_add(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return self(rows).add_(other)


class ReorderedLinear:
    """Runs oneDNN's fused operators over a copy of a weight in oneDNN's layout."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self._unary: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise
        self._binary: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise.binary

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return self._unary(rows, self._weight, None, "none", [], "")

    def linear_silu(self, rows: torch.Tensor) -> torch.Tensor:
        return self._unary(rows, self._weight, None, "swish", [], "")

    def linear_mul(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return self._binary(rows, other, self._weight, None, "mul")

    def linear_add(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return self._binary(rows, other, self._weight, None, "add")


def linear(module: Any) -> Linear:
    """Choose how to run a module; a reordered weight replaces the module's own."""
    if type(module) is not torch.nn.Linear or getattr(module, "bias", None) is not None:
        return PlainLinear(module)
    weight = module.weight
    plain = type(weight) is torch.nn.Parameter  # not a quantised tensor in its place
    if plain and weight.device.type == "cpu" and can_reorder(weight.dtype):
        reordered = ReorderedLinear(weight.detach())
        module.weight = torch.nn.Parameter(weight.new_empty(0), requires_grad=False)
        return reordered
    return PlainLinear(module)


@cache
def can_reorder(dtype: torch.dtype) -> bool:
    """Check the fused operators, which are private to torch, against the plain ones."""
    generator = torch.Generator().manual_seed(0)
    rows, other, weight = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((5, 64), (5, 96), (96, 64))
    )
    try:
        with torch.inference_mode():
            plain = PlainLinear(lambda states: functional.linear(states, weight))
            fused = ReorderedLinear(weight)
            for expected, result in (
                (plain(rows), fused(rows)),
                (plain.linear_silu(rows), fused.linear_silu(rows)),
                (plain.linear_mul(rows, other), fused.linear_mul(rows, other)),
                (plain.linear_add(rows, other), fused.linear_add(rows, other)),
            ):
                tolerance = 1e-4 if dtype == torch.float32 else 2e-2
                torch.testing.assert_close(result, expected, rtol=tolerance, atol=10 * tolerance)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        logger.info("torch's fused products are not used on this CPU: %s", str(error)[:200])
        return False
    return True
