"""Attention by torch alone: plain products, or its fused kernel.

Knows where sequences lie; knows nothing of layers. Queries and answers are
`[rows, key heads, sharing, size]`, where `sharing` query heads share a key head; keys and values
are `[rows, key heads, size]`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch.nn import functional

from qwen3_rag.backends._local.model.attention.matmul import attended
from qwen3_rag.backends._local.model.attention.short import ShortSequences, groups, is_short
from qwen3_rag.backends._local.serving.batching import Packing, Span, filled

__all__ = ["PackedAttention", "pieces", "room"]

# The most keys for plain products on a CPU. Where bfloat16 is multiplied natively, they take half
# the time of the fused kernel at first, and with 8,000 keys still less; but what longer texts
# leave behind in the heap brings memory near 1 GB. In float32 they take three quarters at first.
LONGEST = {torch.bfloat16: 2_048, torch.float32: 1_024}

# In float32, how many times a sequence's own length its prefix may have.
LONGEST_PREFIX = 4

# Rows of one product: keys behind them are left out.
STEP = 128

# On a CPU, rows and keys of a product are filled up to multiples of this at least: oneDNN keeps
# memory for every shape it meets.
GRAIN = 32

# Rows times keys of one product: 33 MB of scores in bfloat16 with 16 heads.
SCORES = 1 << 20


class PackedAttention:
    """Plain products where they are faster, and torch's fused kernel for the rest.

    Answers take the place of their queries: of a long text, both together would be large.
    """

    def __init__(
        self, packing: Packing, like: torch.Tensor, start: int = 0, *, eager: bool
    ) -> None:
        self._packing = packing
        self._exact = eager
        self._grain = GRAIN if like.device.type == "cpu" else 1
        self._multiplied: list[Span] = []
        short: list[Span] = []
        rest: list[Span] = []
        for piece in pieces(packing):
            if piece.start < start:
                continue
            if not (eager or _suits_products(piece, like)):
                rest.append(piece)
            elif like.device.type == "cpu" and is_short(piece):
                short.append(piece)
            else:
                self._multiplied.append(piece)
        self._short = [ShortSequences(group, like, exact=eager) for group in groups(short)]
        self._runs = list(_neighbours(rest))
        most = max((span.before + span.own for span in self._multiplied), default=0)
        filling = max(self._grain, most // 8)
        mask = torch.full((STEP, STEP + filling), float("-inf"), dtype=torch.float32).triu_(1)
        self._mask = mask.to(like.device, mask.dtype if eager else like.dtype)

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `attention.Attention.all`."""
        for group in self._short:
            group.attend(query, key, value)
        for span in self._multiplied:
            self._multiply(span, query, key, value)
        attend = _merged if query.device.type == "cpu" and _has_lse() else _joined
        for run in self._runs:
            attend(run, query, key, value)
        return query

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend; see `attention.Attention.last`."""
        for place, span in enumerate(self._packing.spans):
            k, v = (self._gathered(states, span) for states in (key, value))
            filling = k.shape[1] - span.before - span.own
            mask = k.new_full((1, 1, filling), float("-inf"), dtype=torch.float32)
            query[place] = attended(query[place], k, v, mask, exact=True)
        return query

    def _multiply(
        self, span: Span, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> None:
        """Attend from one sequence's rows where they lie, a step of them at a time."""
        k, v = (self._gathered(states, span) for states in (key, value))
        heads, sharing, size = query.shape[1:]
        most = _step(span)
        for start in range(span.start, span.stop, most):
            stop = min(start + most, span.stop)
            step, seen = stop - start, span.before + stop - span.start
            taken = math.ceil(step / self._grain) * self._grain
            keys = filled(seen, finest=self._grain)
            q = query[start : start + taken].transpose(0, 1).flatten(1, 2)
            # Of its own, a row sees keys up to itself, and none of what they are filled up with.
            mask = self._mask[:taken, None, : keys - seen + step]
            mixed = attended(q, k[:, :keys], v[:, :keys], mask, exact=self._exact)
            mixed = mixed.view(heads, taken, sharing, size)[:, :step]
            query[start:stop] = mixed.transpose(0, 1)

    def _gathered(self, states: torch.Tensor, span: Span) -> torch.Tensor:
        """A sequence's keys or values, its prefix's first, `[key heads, rows, size]`.

        Filled up with zeros: what lies behind the sequence may be another's, and not finite.
        """
        known = span.before + span.own
        filling = filled(known, finest=self._grain) - known
        return _rows(states.transpose(0, 1), span, filling)


def room(like: torch.Tensor, heads: int, *rest: int) -> torch.Tensor:
    """Make room for states of as many rows and some to spare, `[rows, heads, *rest]`."""
    rows = len(like)
    if like.device.type == "cpu":
        # Head by head, so that products take a sequence's rows where they lie; and as many behind
        # the last one's as a product may be filled up with.
        return like.new_empty(heads, rows + GRAIN - 1, *rest).transpose(0, 1)
    return like.new_empty(rows, heads, *rest)


def _neighbours(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Gather sequences that lie side by side and share a prefix: they meet it together."""
    run: list[Span] = []
    for span in spans:
        if run and not (
            span.start == run[-1].stop
            and span.prefix_start == run[0].prefix_start
            and span.prefix_stop == run[0].prefix_stop
        ):
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _step(span: Span) -> int:
    """How many of a sequence's rows one product takes; the last one's may be fewer."""
    most = max(1, min(STEP, SCORES // (span.before + span.own)))
    return math.ceil(span.own / math.ceil(span.own / most))


def _merged(
    run: Sequence[Span], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> None:
    """Attend to the shared prefix once for all, to each own sequence, and merge the two.

    Softmax over both sets of keys is the mean of the two results weighted by the sums of their
    exponentials: `own + sigmoid(lse_prefix - lse_own) * (prefix - own)`.
    """
    start, stop = run[0].start, run[-1].stop
    q, k, v = _by_heads(query[start:stop], key, value)
    prefix = slice(run[0].prefix_start, run[0].prefix_stop)
    if shared := prefix.stop > prefix.start:
        from_prefix, lse_prefix = _flash(q, k[:, :, prefix], v[:, :, prefix])
    for span in run:
        keys, rows = slice(span.start, span.stop), slice(span.start - start, span.stop - start)
        own, lse = _flash(q[:, :, rows], k[:, :, keys], v[:, :, keys], is_causal=True)
        if shared:
            weight = torch.sigmoid(lse_prefix[:, :, rows] - lse)[..., None].to(own.dtype)
            own = own.lerp(from_prefix[:, :, rows], weight)
        query[keys] = own.permute(2, 0, 1, 3)


def _joined(
    run: Sequence[Span], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> None:
    """Attend with the prefix's rows along as queries, which keeps the kernel causal."""
    q, k, v = _by_heads(query, key, value)
    # Key heads one by one: with `enable_gqa`, older releases of torch leave the fused kernel for
    # one that takes memory by the square of the length.
    k, v = (states.repeat_interleave(q.shape[1], dim=1) for states in (k, v))
    for span in run:
        some_q, some_k, some_v = (_rows(states, span) for states in (q, k, v))
        attended = functional.scaled_dot_product_attention(some_q, some_k, some_v, is_causal=True)
        query[span.start : span.stop] = attended[:, :, span.before :].permute(2, 0, 1, 3)


def _by_heads(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States as torch's kernels take them, each key head an item of their batch."""
    k, v = (states.transpose(0, 1)[:, None] for states in (key, value))
    return query.permute(1, 2, 0, 3), k, v


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
    query, key = (
        torch.randn((5, *heads, 16), generator=generator, dtype=torch.float32)
        for heads in ((2, 3), (2,))
    )
    q, k, _ = _by_heads(query, key, key)
    each = k.repeat_interleave(3, 1)
    expected = functional.scaled_dot_product_attention(q, each, each)
    sums = (q @ each.transpose(2, 3) / 4).logsumexp(-1)
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


def _suits_products(span: Span, like: torch.Tensor) -> bool:
    if like.device.type != "cpu" or like.dtype not in LONGEST:
        return False
    # The prefix's keys are copied for every sequence.
    too_long = like.dtype == torch.float32 and span.before > LONGEST_PREFIX * span.own
    return not too_long and span.before + span.own <= LONGEST[like.dtype]


def _rows(states: torch.Tensor, span: Span, filling: int = 0) -> torch.Tensor:
    """The rows of a sequence, its prefix's first, of states `[..., rows, size]`; then zeros."""
    own = states[..., span.start : span.stop, :]
    if not span.before and not filling:
        return own
    prefix = states[..., span.prefix_start : span.prefix_stop, :]
    zeros = states.new_zeros(*states.shape[:-2], filling, states.shape[-1])
    return torch.cat((prefix, own, zeros), -2)
