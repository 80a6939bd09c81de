"""Attention by plain matrix products: short sequences in groups, longer ones one by one.

States are shaped as in `choose`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch

from qwen3_rag.backends._local.serving.batching import Span, round_up

__all__ = ["MatmulAttention", "alloc_states", "gather", "group", "matmul_attention"]

# On a CPU, rows and keys of a product are padded to multiples of this, because oneDNN keeps memory
# for every shape it meets.
PAD_MULTIPLE = 32

# Limits of a short sequence: its own rows, and its keys with those of its prefix. For longer
# sequences, one product per group is no faster than one per sequence.
SHORT_ROWS = 48
SHORT_KEYS = 256

# Padding of short sequences.
SHORT_ROW_MULTIPLE, SHORT_KEY_MULTIPLE = 16, 32

# Sizes of a group of short sequences. Results are bit-identical for any size.
GROUP_SIZES = (1, 4, 16)

# Maximum rows of a longer sequence per product. Keys after the last of these rows are left out.
STEP_ROWS = 128

# Maximum scores per product and head: 33 MB in bfloat16 with 16 heads.
STEP_SCORES = 1 << 20


def matmul_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    *,
    exact: bool,
) -> torch.Tensor:
    """Compute `softmax(query @ key.T / sqrt(size) + mask) @ value` for each item.

    Args:
        query: `[items, rows * heads per key head, size]`, the heads of one row side by side.
        key: `[items, keys, size]`.
        value: `[items, keys, size]`.
        mask: `[rows, 1, masked]`, for the last `masked` keys; all rows see the others.
        exact: Whether to compute scores in float32.

    Returns:
        A tensor shaped as `query`.
    """
    items, _, size = query.shape
    keys = key.shape[1]
    if exact:
        scores = torch.bmm(query, key.transpose(1, 2)).float().mul_(size**-0.5)
    else:
        # baddbmm fuses the scaling; beta=0 ignores the input.
        scores = torch.baddbmm(
            query.new_zeros(1), query, key.transpose(1, 2), beta=0, alpha=size**-0.5
        )
    rows, _, masked = mask.shape
    scores.view(items, rows, -1, keys)[..., keys - masked :] += mask
    return torch.bmm(scores.softmax(-1).to(value.dtype), value)


class MatmulAttention:
    """Attention for some sequences of a batch. Results overwrite the queries."""

    def __init__(
        self, spans: Iterable[Span], device: torch.device, dtype: torch.dtype, *, exact: bool
    ) -> None:
        """Plan the products.

        Args:
            spans: The sequences.
            device: Where the states are.
            dtype: Number format of the states.
            exact: Whether to compute scores in float32.
        """
        self._exact = exact
        self._multiple = PAD_MULTIPLE if device.type == "cpu" else 1
        self._long: list[Span] = []
        short: list[Span] = []
        for span in spans:
            keys = span.prefix_length + span.length
            if device.type == "cpu" and span.length <= SHORT_ROWS and keys <= SHORT_KEYS:
                short.append(span)
            else:
                self._long.append(span)
        mask_dtype = torch.float32 if exact else dtype
        self._groups = [_Group(*each, mask_dtype, exact=exact) for each in group(short)]
        if self._long:
            longest = max(span.prefix_length + span.length for span in self._long)
            padding = max(self._multiple, longest // 8)
            mask = _causal_mask(STEP_ROWS, STEP_ROWS + padding)
            self._mask = mask.to(device, mask_dtype)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Replace queries by results."""
        for each in self._groups:
            each.attend(query, key, value)
        for span in self._long:
            self._attend_in_steps(span, query, key, value)

    def attend_last(
        self,
        spans: Iterable[Span],
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
    ) -> torch.Tensor:
        """Attend from the last row of each sequence, with scores in float32.

        Args:
            spans: All sequences, including those of other implementations.
            query: Only their last rows; overwritten by the results.
            key: Keys of all rows.
            value: Values of all rows.
        """
        key, value = key.transpose(0, 1), value.transpose(0, 1)
        for index, span in enumerate(spans):
            keys = span.prefix_length + span.length
            padded = round_up(keys, finest=self._multiple)
            k, v = gather(key, span, padded), gather(value, span, padded)
            mask = k.new_full((1, 1, padded - keys), float("-inf"), dtype=torch.float32)
            query[index] = matmul_attention(query[index], k, v, mask, exact=True)
        return query

    def _attend_in_steps(
        self, span: Span, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> None:
        """Attend from the rows of one sequence, in several steps."""
        heads, sharing, size = query.shape[1:]
        total = span.prefix_length + span.length
        padded = round_up(total, finest=self._multiple)
        k = gather(key.transpose(0, 1), span, padded)
        v = gather(value.transpose(0, 1), span, padded)
        stop = span.start + span.length
        most = max(1, min(STEP_ROWS, STEP_SCORES // total))
        most = math.ceil(span.length / math.ceil(span.length / most))  # steps of similar size
        for start in range(span.start, stop, most):
            step = min(most, stop - start)
            seen = span.prefix_length + start + step - span.start
            rows = math.ceil(step / self._multiple) * self._multiple
            keys = round_up(seen, finest=self._multiple)
            q = query[start : start + rows].transpose(0, 1).flatten(1, 2)
            # The mask covers the keys of these rows and the padding after them.
            mask = self._mask[:rows, None, : keys - seen + step]
            result = matmul_attention(q, k[:, :keys], v[:, :keys], mask, exact=self._exact)
            result = result.view(heads, rows, sharing, size)[:, :step]
            query[start : start + step] = result.transpose(0, 1)


def group(spans: Iterable[Span]) -> Iterator[tuple[list[Span], int]]:
    """Group short sequences whose products have the same shape and mask.

    Yields:
        Sequences, and the size that their group is padded to.
    """
    alike: dict[tuple[int, int], list[Span]] = {}
    for span in spans:
        alike.setdefault((span.prefix_length, _padded_rows(span)), []).append(span)
    for rest in alike.values():
        while rest:
            # Pad by at most three rows, else use a smaller group.
            size = max(size for size in GROUP_SIZES if size < len(rest) + 4)
            yield rest[:size], size
            del rest[:size]


class _Group:
    """Short sequences whose products have the same shape and mask."""

    def __init__(
        self, spans: Sequence[Span], size: int, mask_dtype: torch.dtype, *, exact: bool
    ) -> None:
        self._exact = exact
        prefix_length = spans[0].prefix_length
        rows = _padded_rows(spans[0])
        keys = prefix_length + rows
        keys = math.ceil(keys / SHORT_KEY_MULTIPLE) * SHORT_KEY_MULTIPLE
        padded = [*spans, *[spans[-1]] * (size - len(spans))]
        start, length, prefix_start, _ = torch.tensor(padded).T[:, :, None]
        # Pad with the last row of the same sequence: rows of another sequence may not be finite.
        self._query_rows = start + torch.arange(rows).minimum(length - 1)
        own_keys = start + torch.arange(keys - prefix_length).minimum(length - 1)
        self._key_rows = torch.cat((prefix_start + torch.arange(prefix_length), own_keys), 1)
        wanted = torch.arange(rows) < length
        wanted[len(spans) :] = False
        self._wanted = wanted.flatten().nonzero()[:, 0]
        self._mask = _causal_mask(rows, keys - prefix_length).to(mask_dtype)[:, None]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Replace queries by results."""
        heads, sharing, size = query.shape[1:]
        items = heads * len(self._query_rows)
        queries = _head_rows(query, self._query_rows)
        keys = _head_rows(key, self._key_rows)
        result = matmul_attention(
            _by_head(query).index_select(0, queries).view(items, -1, size),
            _by_head(key).index_select(0, keys).view(items, -1, size),
            _by_head(value).index_select(0, keys).view(items, -1, size),
            self._mask,
            exact=self._exact,
        )
        result = result.view(heads, -1, sharing * size)[:, self._wanted]
        wanted = queries.view(heads, -1)[:, self._wanted].flatten()
        _by_head(query).index_copy_(0, wanted, result.flatten(0, 1))


def alloc_states(like: torch.Tensor, heads: int, *rest: int) -> torch.Tensor:
    """Allocate states for as many rows as `like` has, `[rows, heads, *rest]`."""
    rows = len(like)
    if like.device.type == "cpu":
        # Stored head by head, so that a sequence's rows are contiguous for a product, with spare
        # rows for the padding of the last sequence.
        return like.new_empty(heads, rows + PAD_MULTIPLE - 1, *rest).transpose(0, 1)
    return like.new_empty(rows, heads, *rest)


def gather(states: torch.Tensor, span: Span, padded: int = 0) -> torch.Tensor:
    """Collect the rows of a sequence, after those of its prefix, from `[..., rows, size]`.

    Args:
        states: The states of all rows.
        span: The sequence.
        padded: Number of rows to return. The additional rows are zero, since the rows after the
            sequence may belong to another one and not be finite.
    """
    own = states[..., span.start : span.start + span.length, :]
    missing = max(0, padded - span.prefix_length - span.length)
    if not span.prefix_length and not missing:
        return own
    prefix = states[..., span.prefix_start : span.prefix_start + span.prefix_length, :]
    zeros = states.new_zeros(*states.shape[:-2], missing, states.shape[-1])
    return torch.cat((prefix, own, zeros), -2)


def _padded_rows(span: Span) -> int:
    return math.ceil(span.length / SHORT_ROW_MULTIPLE) * SHORT_ROW_MULTIPLE


def _causal_mask(rows: int, keys: int) -> torch.Tensor:
    return torch.full((rows, keys), float("-inf"), dtype=torch.float32).triu_(1)


def _by_head(states: torch.Tensor) -> torch.Tensor:
    """View each head of each row as a row of its own, in memory order, which is fast to gather."""
    size = states[0, 0].numel()
    return states.as_strided((states.numel() // size, size), (size, 1))


def _head_rows(states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Index all heads of some rows in `_by_head`, head by head."""
    size = states[0, 0].numel()
    row_stride, head_stride = states.stride(0) // size, states.stride(1) // size
    heads = torch.arange(states.shape[1])[:, None]
    return (heads * head_stride + rows.flatten() * row_stride).flatten()
