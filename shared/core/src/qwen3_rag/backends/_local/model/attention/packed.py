"""Attention with torch only: plain products where they are faster, else torch's fused kernel.

States are shaped as in `choose`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch.nn import functional

from qwen3_rag.backends._local.model.attention.matmul import MatmulAttention, gather
from qwen3_rag.backends._local.serving.batching import Packing, Span

__all__ = ["PackedAttention", "has_lse"]

# Maximum keys for plain products on a CPU. In native bfloat16 they take half the time of the fused
# kernel for short texts, and less time even at 8,000 keys, but longer texts fragment the heap to
# nearly 1 GB. In float32 they take three quarters of the time for short texts.
LONGEST = {torch.bfloat16: 2_048, torch.float32: 1_024}

# In float32, the maximum number of prefix rows per row of the sequence: the prefix's keys are
# copied for every sequence.
LONGEST_PREFIX = 4


class PackedAttention:
    """Attention within the sequences of a batch. Results overwrite the queries.

    For a long text, separate results would take too much memory.
    """

    def __init__(
        self,
        packing: Packing,
        start: int = 0,
        *,
        device: torch.device,
        dtype: torch.dtype,
        eager: bool,
    ) -> None:
        """Choose the computation for each sequence.

        Args:
            packing: The batch.
            start: The first row whose result is wanted.
            device: Where the states are.
            dtype: Number format of the states.
            eager: Whether to use only plain products, with scores in float32.
        """
        self._spans = packing.spans
        multiplied: list[Span] = []
        fused: list[Span] = []
        for span in packing.prefixes + packing.spans:
            if span.start >= start:
                by_products = eager or _suits_products(span, device, dtype)
                (multiplied if by_products else fused).append(span)
        self._products = MatmulAttention(multiplied, device, dtype, exact=eager)
        self._fused_runs = list(_runs(fused)) if fused else []

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `Attention.all`."""
        self._products.attend(query, key, value)
        for run in self._fused_runs:
            if query.device.type == "cpu" and has_lse():
                _attend_merging(run, query, key, value)
            else:
                _attend_joined(run, query, key, value)
        return query

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `Attention.last`."""
        return self._products.attend_last(self._spans, query, key, value)


def _suits_products(span: Span, device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cpu" or dtype not in LONGEST:
        return False
    if dtype == torch.float32 and span.prefix_length > LONGEST_PREFIX * span.length:
        return False
    return span.prefix_length + span.length <= LONGEST[dtype]


def _runs(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Split into runs of adjacent sequences with the same prefix, which attend to it together."""
    run: list[Span] = []
    for span in spans:
        if run and not (
            span.start == run[-1].start + run[-1].length
            and span.prefix_start == run[0].prefix_start
            and span.prefix_length == run[0].prefix_length
        ):
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _attend_merging(
    run: Sequence[Span], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> None:
    """Attend to the shared prefix once for the run, attend to each sequence's own keys, and merge.

    Softmax over both sets of keys is the mean of the two results weighted by the sums of their
    exponentials: `own + sigmoid(lse_prefix - lse_own) * (prefix - own)`.
    """
    first = run[0].start
    q, k, v = _by_heads(query[first : run[-1].start + run[-1].length], key, value)
    prefix = slice(run[0].prefix_start, run[0].prefix_start + run[0].prefix_length)
    shared = run[0].prefix_length > 0
    if shared:
        from_prefix, lse_prefix = _flash(q, k[:, :, prefix], v[:, :, prefix])
    for span in run:
        keys = slice(span.start, span.start + span.length)
        rows = slice(span.start - first, span.start - first + span.length)
        own, lse = _flash(q[:, :, rows], k[:, :, keys], v[:, :, keys], is_causal=True)
        if shared:
            weight = torch.sigmoid(lse_prefix[:, :, rows] - lse)[..., None].to(own.dtype)
            own = own.lerp(from_prefix[:, :, rows], weight)
        query[keys] = own.permute(2, 0, 1, 3)


def _attend_joined(
    run: Sequence[Span], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> None:
    """Attend from the prefix's rows too, so that the kernel's causal mask is right."""
    q, k, v = _by_heads(query, key, value)
    # Repeat key heads instead of `enable_gqa`, with which older releases of torch choose a kernel
    # whose memory grows with the square of the length.
    k, v = (states.repeat_interleave(q.shape[1], dim=1) for states in (k, v))
    for span in run:
        result = functional.scaled_dot_product_attention(
            gather(q, span), gather(k, span), gather(v, span), is_causal=True
        )
        result = result[:, :, span.prefix_length :].permute(2, 0, 1, 3)
        query[span.start : span.start + span.length] = result


def _by_heads(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shape states for torch's kernels, `[key heads, heads per key head, rows, size]`."""
    k, v = key.transpose(0, 1), value.transpose(0, 1)
    return query.permute(1, 2, 0, 3), k[:, None], v[:, None]


def _flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend on a CPU.

    Returns:
        The result, and the logarithms of the sums of exponentials (LSE).
    """
    result: tuple[torch.Tensor, torch.Tensor] = (
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, is_causal=is_causal)
    )
    return result


@cache
def has_lse() -> bool:
    """Check the CPU's private fused kernel, which returns the LSE, against the public one."""
    generator = torch.Generator().manual_seed(0)
    query, key = (
        torch.randn((5, *heads, 16), generator=generator, dtype=torch.float32)
        for heads in ((2, 3), (2,))
    )
    q, k, _ = _by_heads(query, key, key)
    repeated = k.repeat_interleave(3, 1)
    expected = functional.scaled_dot_product_attention(q, repeated, repeated)
    expected_lse = (q @ repeated.transpose(2, 3) / 4).logsumexp(-1)
    try:
        result, lse = _flash(q, k, k)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(lse, expected_lse)
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError):
        return False
    return True
