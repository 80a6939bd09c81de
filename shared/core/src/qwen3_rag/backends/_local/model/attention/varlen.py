"""Attention by a kernel for sequences of various lengths: flash-attn's or torch's own.

Knows where sequences lie and which kernels there are. States are shaped as in `attention`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch

from qwen3_rag.backends._local.model.attention.packed import PackedAttention, pieces, room
from qwen3_rag.backends._local.serving.batching import Packing, Span, TokenSequence, pack

__all__ = ["Kernel", "VarlenAttention", "varlen_kernel"]

logger = logging.getLogger("qwen3_rag")


class VarlenAttention:
    """A kernel for sequences of various lengths, with each sequence's prefix before its own keys.

    The kernel aligns queries with the end of the keys, as FlashAttention has since 2.1.
    """

    def __init__(self, packing: Packing, kernel: Kernel, device: torch.device) -> None:
        self._kernel = kernel
        stretches = pieces(packing)
        self._all = _Layout(stretches, [piece.own for piece in stretches], device)
        self._last = _Layout(packing.spans, [1] * len(packing.spans), device)

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `attention.Attention.all`."""
        return self._attend(self._all, query, key, value)

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `attention.Attention.last`."""
        return self._attend(self._last, query, key, value)

    def _attend(
        self, at: _Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        k, v = (states if at.keys is None else states[at.keys] for states in (key, value))
        attended = self._kernel(query.flatten(1, 2), k, v, *at.bounds, *at.longest)
        return attended.view_as(query)


class _Layout:
    """Where a kernel finds each sequence's queries and keys."""

    def __init__(self, spans: Sequence[Span], queries: list[int], device: torch.device) -> None:
        keys = [
            torch.cat(
                (
                    torch.arange(span.prefix_start, span.prefix_stop),
                    torch.arange(span.start, span.stop),
                )
            )
            for span in spans
        ]
        order = torch.cat(keys)
        in_place = torch.equal(order, torch.arange(len(order)))
        self.keys = None if in_place else order.to(device)
        lengths = [len(rows) for rows in keys]
        self.bounds = tuple(_bounds(counts).to(device) for counts in (queries, lengths))
        self.longest = (max(queries), max(lengths))


#: query `[rows, heads, size]`, key, value, bounds of queries and of keys, longest of each; to the
#: attended states.
Kernel = Callable[..., torch.Tensor]


@cache
def varlen_kernel(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """Find a variable-length kernel that works here: flash-attn's if installed, or torch's own."""
    return next((kernel for kernel in _varlen_kernels() if _works(kernel, device, dtype)), None)


def _varlen_kernels() -> Iterator[Kernel]:
    try:
        from flash_attn import flash_attn_varlen_func

        def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *at: Any) -> torch.Tensor:
            result: torch.Tensor = flash_attn_varlen_func(q, k, v, *at, causal=True)
            return result

        yield flash
    except ImportError:
        pass
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before torch 2.10
        return
    parameters = inspect.signature(varlen_attn).parameters
    causal = {"window_size": (-1, 0)} if "window_size" in parameters else {"is_causal": True}

    def torchs(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *at: Any) -> torch.Tensor:
        sharing = q.shape[1] // k.shape[1]
        k, v = (states.repeat_interleave(sharing, dim=1) for states in (k, v))
        result = varlen_attn(q, k, v, *at, **causal)
        assert isinstance(result, torch.Tensor)  # asked for nothing else
        return result

    yield torchs


def _works(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> bool:
    """Try a kernel against plain products: one may be built for other devices, or have changed."""
    packing = pack([TokenSequence((1, 2, 3), (4,) * length) for length in (4, 2)])
    generator = torch.Generator().manual_seed(0)
    states = [
        torch.randn((len(packing.ids), *heads, 64), generator=generator).to(device, dtype)
        for heads in ((2, 2), (2,), (2,))
    ]
    query, key, value = states
    last = query[torch.from_numpy(packing.last).to(device)]
    plain = PackedAttention(packing, query, eager=True)
    roomy = room(query, *query.shape[1:])
    roomy[: len(query)] = query
    try:
        fused = VarlenAttention(packing, kernel, device)
        for result, expected in (
            (fused.all(query, key, value), plain.all(roomy, key, value)[: len(query)]),
            (fused.last(last, key, value), plain.last(last.clone(), key, value)),
        ):
            torch.testing.assert_close(result, expected, rtol=2e-2, atol=2e-2)
    except Exception as error:  # what a kernel raises where it does not fit has many names
        logger.info("A fused attention kernel is not used on %s: %s", device, str(error)[:200])
        return False
    return True


def _bounds(lengths: Sequence[int]) -> torch.Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
