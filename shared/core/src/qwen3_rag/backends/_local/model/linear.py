"""A product with a weight, and the element-wise step that follows it in Qwen3's layers.

Plain on any device; on a CPU through oneDNN's fused operators over weights re-ordered once, where
torch has them and they pass a check. Knows nothing of layers.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Protocol

import torch
from torch.nn import functional

__all__ = ["Linear", "PlainLinear", "ReorderedLinear", "can_reorder", "linear"]

# The number of rows oneDNN is told to choose a layout for; other numbers of rows work as well.
ROWS = 512

logger = logging.getLogger("qwen3_rag")


class Linear(Protocol):
    """`rows @ weight.T`, and what may ride on it. Rows are `[tokens, width]`."""

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        ...

    def silu(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply, then apply SiLU."""
        ...

    def times(self, rows: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Multiply, then multiply by `factor` element by element."""
        ...

    def plus(self, rows: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
        """Multiply, then add `term`."""
        ...


class PlainLinear:
    """Calls a module, whatever it is: a plain layer, a quantised one, one with an adapter."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._module(rows)
        return result

    def silu(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.silu(self(rows), inplace=True)

    def times(self, rows: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return self(rows).mul_(factor)

    def plus(self, rows: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
        return self(rows).add_(term)


class ReorderedLinear:
    """Runs oneDNN's fused operators over a weight it has re-ordered."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return self._unary(rows, "none")

    def silu(self, rows: torch.Tensor) -> torch.Tensor:
        return self._unary(rows, "swish")

    def times(self, rows: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return self._binary(rows, factor, "mul")

    def plus(self, rows: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
        return self._binary(rows, term, "add")

    def _unary(self, rows: torch.Tensor, step: str) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._weight, None, step, [], ""
        )
        return result

    def _binary(self, rows: torch.Tensor, other: torch.Tensor, step: str) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            rows, other, self._weight, None, step
        )
        return result


def linear(module: Any) -> Linear:
    """Choose how to run a layer's product; a re-ordered weight replaces the module's own."""
    if type(module) is not torch.nn.Linear or getattr(module, "bias", None) is not None:
        return PlainLinear(module)
    weight = module.weight
    plain = type(weight) is torch.nn.Parameter  # and not a quantised tensor posing as one
    if plain and weight.device.type == "cpu" and can_reorder(weight.dtype):
        reordered = ReorderedLinear(weight.detach())
        module.weight = torch.nn.Parameter(weight.new_empty(0), requires_grad=False)
        return reordered
    return PlainLinear(module)


@cache
def can_reorder(dtype: torch.dtype) -> bool:
    """Try the fused operators, which are private to torch, against the plain ones."""
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
                (plain.silu(rows), fused.silu(rows)),
                (plain.times(rows, other), fused.times(rows, other)),
                (plain.plus(rows, other), fused.plus(rows, other)),
            ):
                tolerance = 1e-4 if dtype == torch.float32 else 2e-2
                torch.testing.assert_close(result, expected, rtol=tolerance, atol=10 * tolerance)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        logger.info("torch's fused products are not used on this CPU: %s", str(error)[:200])
        return False
    return True
