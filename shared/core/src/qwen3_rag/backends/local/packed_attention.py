"""Attention by torch alone: plain products over groups of like length, or its fused kernel.

Knows where sequences lie; knows nothing of layers. All states are `[rows, heads, size]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby

import torch
from torch.nn import functional

from qwen3_rag.backends.local.batching import Packing, Span

__all__ = ["PackedAttention", "pieces"]

# Longest sequence for plain products, whose scores grow with its square.
LONGEST = 1_024

# Query rows times keys of one product: 16 MB of scores in bfloat16 with 16 heads.
SCORES = 1 << 19

# How long a sequence must be, of its group's longest.
FILL = 0.8


class PackedAttention:
    """Plain products over groups of like length, and torch's fused kernel for the rest.

    On CPUs that multiply bfloat16 natively the fused kernel reaches about half the products' rate
    on sequences of up to some hundred tokens; in float32 it is the faster one.
    """

    def __init__(self, packing: Packing, like: torch.Tensor, *, eager: bool) -> None:
        stretches = pieces(packing)
        products = like.device.type == "cpu" and like.dtype == torch.bfloat16
        grouped = [p for p in stretches if eager or (products and _suits_products(p))]
        rest = [p for p in stretches if not eager and not (products and _suits_products(p))]
        self._packing = packing
        self._groups = [_Group(spans, like, exact=eager) for spans in _alike(grouped)]
        # Neighbours that share a prefix meet it together.
        self._runs = [
            list(run) for _, run in groupby(rest, lambda p: (p.prefix_start, p.prefix_stop))
        ]

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `attention.Attention.all`."""
        output = torch.empty_like(query)
        for group in self._groups:
            group.attend(query, key, value, output)
        if self._runs:
            q, k, v, out = (states.transpose(0, 1)[None] for states in (query, key, value, output))
            attend = _merged if query.device.type == "cpu" and _has_lse() else _joined
            for run in self._runs:
                attend(run, q, k, v, out)
        return output

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `attention.Attention.last`."""
        heads, size = key.shape[1:]
        output = torch.empty_like(query)
        for place, span in enumerate(self._packing.spans):
            k, v = (_rows(states, span).transpose(0, 1) for states in (key, value))
            q = query[place].view(heads, -1, size)
            weights = (q @ k.transpose(1, 2)).float().mul_(size**-0.5).softmax(-1)
            output[place] = (weights.to(v.dtype) @ v).view(-1, size)
        return output


class _Group:
    """Sequences of like length and one prefix, as one batched product over gathered rows."""

    def __init__(self, spans: Sequence[Span], like: torch.Tensor, *, exact: bool) -> None:
        first = spans[0]
        self._count = len(spans)
        self._length = first.stop - first.start  # the longest
        self._exact = exact
        starts, stops = torch.tensor([(span.start, span.stop) for span in spans]).T[..., None]
        rows = starts + torch.arange(self._length)
        real = (rows < stops).flatten()
        rows = torch.minimum(rows, stops - 1)  # filled up with the last row
        prefix = torch.arange(first.prefix_start, first.prefix_stop).expand(len(spans), -1)
        self._rows = rows.flatten().to(like.device)
        self._keys = torch.cat((prefix, rows), 1).flatten().to(like.device)
        # Filling comes last, so that causality hides it; its own results are dropped.
        self._real = None if bool(real.all()) else real.nonzero()[:, 0].to(like.device)
        self._before = first.prefix_stop - first.prefix_start
        self._like = like
        # Long sequences alone: their scores are computed for some rows at a time.
        self._step = max(1, SCORES // (self._count * (self._before + self._length)))
        self._mask = self._masked(0) if self._step >= self._length else None

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, output: torch.Tensor
    ) -> None:
        """Attend from this group's rows, into their places in `output`."""
        count, length, heads, size = self._count, self._length, key.shape[1], key.shape[2]
        sharing = query.shape[1] // heads  # query heads per key head
        q = query[self._rows].view(count, length, heads, sharing, size)
        q = q.permute(0, 2, 3, 1, 4).reshape(count * heads, sharing, length, size)
        k = key[self._keys].view(count, -1, heads, size)
        k = k.permute(0, 2, 3, 1).reshape(count * heads, size, -1)
        v = value[self._keys].view(count, -1, heads, size)
        v = v.permute(0, 2, 1, 3).reshape(count * heads, -1, size)
        if self._mask is not None:
            mixed = _product(q, k, v, self._mask, exact=self._exact)
        else:
            mixed = q  # gathered, so a copy: answers may take the places of their queries
            for start in range(0, length, self._step):
                some, seen = slice(start, start + self._step), self._before + start + self._step
                mixed[:, :, some] = _product(
                    q[:, :, some],
                    k[..., :seen],
                    v[:, :seen],
                    self._masked(start),
                    exact=self._exact,
                )
        mixed = mixed.view(count, heads, sharing, length, size)
        mixed = mixed.permute(0, 3, 1, 2, 4).reshape(count * length, heads * sharing, size)
        rows = self._rows
        if self._real is not None:
            mixed, rows = mixed[self._real], rows[self._real]
        output.index_copy_(0, rows, mixed)

    def _masked(self, start: int) -> torch.Tensor:
        """Hide from each row of a step the keys behind it."""
        stop = min(start + self._step, self._length)
        mask = torch.full((stop - start, self._before + stop), float("-inf"))
        return mask.triu(self._before + start + 1).to(self._like)


def _product(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, *, exact: bool
) -> torch.Tensor:
    """Attend by plain products; `q` and the result are `[sequences, sharing, rows, size]`."""
    sequences, sharing, rows, size = q.shape
    flat, mask = q.reshape(sequences, sharing * rows, size), mask.repeat(sharing, 1)
    if exact:
        weights = torch.bmm(flat, k).float().mul_(size**-0.5).add_(mask).softmax(-1).to(v.dtype)
    else:
        weights = torch.baddbmm(mask, flat, k, alpha=size**-0.5).softmax(-1)
    return torch.bmm(weights, v).view(q.shape)


def _merged(
    run: Sequence[Span], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor
) -> None:
    """Attend to the shared prefix once for all, to each own sequence, and merge the two.

    Softmax over both sets of keys is the mean of the two results weighted by the sums of their
    exponentials: `own + sigmoid(lse_prefix - lse_own) * (prefix - own)`.
    """
    start, stop = run[0].start, run[-1].stop
    prefix = slice(run[0].prefix_start, run[0].prefix_stop)
    if shared := prefix.stop > prefix.start:
        from_prefix, lse_prefix = _flash(q[:, :, start:stop], k[:, :, prefix], v[:, :, prefix])
    for span in run:
        rows = slice(span.start, span.stop)
        own, lse = _flash(q[:, :, rows], k[:, :, rows], v[:, :, rows], is_causal=True)
        if shared:
            rows_of_run = slice(span.start - start, span.stop - start)
            weight = torch.sigmoid(lse_prefix[:, :, rows_of_run] - lse)[..., None].to(own.dtype)
            own = own.lerp(from_prefix[:, :, rows_of_run], weight)
        out[:, :, rows] = own


def _joined(
    run: Sequence[Span], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor
) -> None:
    """Attend with the prefix's rows along as queries, which keeps the kernel causal."""
    # Key heads one by one: with `enable_gqa`, older releases of torch leave the fused kernel for
    # one that takes memory by the square of the length.
    sharing = q.shape[1] // k.shape[1]
    k, v = (states.repeat_interleave(sharing, dim=1) for states in (k, v))
    for span in run:
        length = span.prefix_stop - span.prefix_start
        attended = functional.scaled_dot_product_attention(
            _rows(q[0], span, 1)[None],
            _rows(k[0], span, 1)[None],
            _rows(v[0], span, 1)[None],
            is_causal=True,
        )
        out[:, :, span.start : span.stop] = attended[:, :, length:]


def _flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend on the CPU; returns the logarithms of the sums of exponentials, too."""
    result: tuple[torch.Tensor, torch.Tensor] = (
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, is_causal=is_causal)
    )
    return result


@cache
def _has_lse() -> bool:
    """Try the CPU's fused kernel, which is private to torch, against the public one."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn((1, heads, 5, 16), generator=generator) for heads in (4, 2))
    expected = functional.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    sums = (q @ k.repeat_interleave(2, 1).transpose(2, 3) / 4).logsumexp(-1)
    try:
        result, lse = _flash(q, k, k)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(lse, sums)
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError):
        return False
    return True


def pieces(packing: Packing) -> list[Span]:
    """Every stretch of rows: the shared prefixes, which have none, and the sequences."""
    return [Span(0, 0, *rows) for rows in packing.prefixes] + list(packing.spans)


def _suits_products(span: Span) -> bool:
    own, prefix = span.stop - span.start, span.prefix_stop - span.prefix_start
    # Beside a longer prefix, gathering its keys for every sequence costs more than it saves.
    return prefix <= own and prefix + own <= LONGEST


def _alike(spans: Iterable[Span]) -> list[list[Span]]:
    """Group sequences by prefix and length, longest first."""

    def order(span: Span) -> tuple[int, int, int]:
        return span.prefix_start, span.prefix_stop, span.start - span.stop

    groups: list[list[Span]] = []
    for span in sorted(spans, key=order):
        if groups and _fits(groups[-1], span):
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _fits(group: Sequence[Span], span: Span) -> bool:
    first = group[0]
    length = first.stop - first.start
    keys = first.prefix_stop - first.prefix_start + length
    return (
        (first.prefix_start, first.prefix_stop) == (span.prefix_start, span.prefix_stop)
        and span.stop - span.start >= FILL * length
        and (len(group) + 1) * length * keys <= SCORES
    )


def _rows(states: torch.Tensor, span: Span, dim: int = 0) -> torch.Tensor:
    """The rows of a sequence, its prefix's first."""
    own = states.narrow(dim, span.start, span.stop - span.start)
    if span.prefix_start == span.prefix_stop:
        return own
    prefix = states.narrow(dim, span.prefix_start, span.prefix_stop - span.prefix_start)
    return torch.cat((prefix, own), dim)
