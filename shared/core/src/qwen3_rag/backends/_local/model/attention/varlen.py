"""Attention by a variable-length kernel: flash-attn's or torch's own.

States are shaped as in `choose`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import torch

from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.model.attention.matmul import alloc_states
from qwen3_rag.backends._local.model.attention.packed import PackedAttention
from qwen3_rag.backends._local.serving.batching import Packing, Span, pack

__all__ = ["Kernel", "VarlenAttention", "varlen_kernel", "varlen_kernels"]

logger = logging.getLogger("qwen3_rag")


class VarlenAttention:
    """Attention by a kernel that gets each sequence's keys after those of its prefix.

    The kernel aligns queries with the end of the keys, as FlashAttention does since 2.1.
    """

    def __init__(self, packing: Packing, kernel: Kernel, device: torch.device) -> None:
        self._kernel = kernel
        spans = packing.prefixes + packing.spans
        self._all = _Layout(spans, [span.length for span in spans], device)
        self._last = _Layout(packing.spans, [1] * len(packing.spans), device)

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `Attention.all`."""
        return self._attend(self._all, query, key, value)

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `Attention.last`."""
        return self._attend(self._last, query, key, value)

    def _attend(
        self, layout: _Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        if layout.keys is not None:
            key, value = key[layout.keys], value[layout.keys]
        result = self._kernel(query.flatten(1, 2), key, value, *layout.bounds, *layout.longest)
        return result.view_as(query)


class _Layout:
    """The offsets of each sequence's queries and keys."""

    def __init__(self, spans: Sequence[Span], queries: list[int], device: torch.device) -> None:
        keys = [
            torch.cat(
                (
                    span.prefix_start + torch.arange(span.prefix_length),
                    span.start + torch.arange(span.length),
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


#: Takes queries `[rows, heads, size]`, keys, values, the offsets of the sequences' queries and
#: keys, and the maximum length of each; returns the results.
Kernel = Callable[..., torch.Tensor]


@cache
def varlen_kernel(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """Find a variable-length kernel that works here: flash-attn's if installed, or torch's own."""
    return next((kernel for kernel in varlen_kernels() if _works(kernel, device, dtype)), None)


def varlen_kernels() -> Iterator[Kernel]:
    """Yield the installed kernels, the preferred one first."""
    try:
        from flash_attn import flash_attn_varlen_func

        def flash_attn(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *at: Any) -> torch.Tensor:
            result: torch.Tensor = flash_attn_varlen_func(q, k, v, *at, causal=True)
            return result

        yield flash_attn
    except ImportError:
        pass
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before torch 2.10
        return
    parameters = inspect.signature(varlen_attn).parameters
    causal = {"window_size": (-1, 0)} if "window_size" in parameters else {"is_causal": True}

    def torch_varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *at: Any) -> torch.Tensor:
        sharing = q.shape[1] // k.shape[1]
        k, v = (states.repeat_interleave(sharing, dim=1) for states in (k, v))
        result = varlen_attn(q, k, v, *at, **causal)
        assert isinstance(result, torch.Tensor)  # a tuple only if the LSE is requested
        return result

    yield torch_varlen


def _works(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> bool:
    """Check a kernel against plain products: it may be built for other devices or have changed."""
    packing = pack([TokenSequence((1, 2, 3), (4,) * length) for length in (4, 2)])
    generator = torch.Generator().manual_seed(0)
    states = [
        torch.randn((len(packing.ids), *heads, 64), generator=generator).to(device, dtype)
        for heads in ((2, 2), (2,), (2,))
    ]
    query, key, value = states
    last = query[torch.from_numpy(packing.last).to(device)]
    plain = PackedAttention(packing, device=device, dtype=dtype, eager=True)
    # The plain products overwrite queries and need spare rows.
    padded = alloc_states(query, *query.shape[1:])
    padded[: len(query)] = query
    try:
        fused = VarlenAttention(packing, kernel, device)
        for result, expected in (
            (fused.all(query, key, value), plain.all(padded, key, value)[: len(query)]),
            (fused.last(last, key, value), plain.last(last.clone(), key, value)),
        ):
            torch.testing.assert_close(result, expected, rtol=2e-2, atol=2e-2)
    except Exception as error:  # unsupported kernels raise errors of many classes
        logger.info("A fused attention kernel is not used on %s: %s", device, str(error)[:200])
        return False
    return True


def _bounds(lengths: Sequence[int]) -> torch.Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
