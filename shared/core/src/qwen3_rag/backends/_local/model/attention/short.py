"""Attention of short sequences, several of like length in one product.

One by one, most of their time would go into calling. Knows where sequences lie; knows nothing of
layers. States are `[rows, key heads, ...]`, as in `packed_attention`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from qwen3_rag.backends._local.model.attention.matmul import attended
from qwen3_rag.backends._local.serving.batching import Span, filled

__all__ = ["ShortSequences", "groups", "is_short"]

# The most rows of its own that a sequence may have here, and the most with those of its prefix.
# Of longer ones, products side by side are no faster than one after the other.
ROWS = 48
KEYS = 256

# What both are filled up to multiples of: oneDNN keeps memory for every shape it meets.
ROW_GRAIN, KEY_GRAIN = 16, 32

# How many sequences a product takes, filled up where fewer are left; few numbers for the same
# reason. An item's bits do not hang on them, so equal texts stay equal, which a test asserts.
TOGETHER = (1, 4, 16)


def is_short(span: Span) -> bool:
    """Tell whether a sequence belongs here."""
    return span.own <= ROWS and span.before + span.own <= KEYS


def groups(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Gather sequences whose products have one shape and one mask, as many as one product takes."""
    alike: dict[tuple[int, int], list[Span]] = {}
    for span in spans:
        alike.setdefault((span.before, _rows(span)), []).append(span)
    for rest in alike.values():
        while rest:
            # Rather than fill up by more than three, take fewer.
            count = max(count for count in TOGETHER if count < len(rest) + 4)
            yield rest[:count]
            del rest[:count]


class ShortSequences:
    """Some sequences whose products have one shape and one mask."""

    def __init__(self, spans: Sequence[Span], like: torch.Tensor, *, exact: bool) -> None:
        """Lay out the products.

        Args:
            spans: One of `groups`.
            like: A tensor of the states' number format.
            exact: Whether scores are float32, whatever the number format.
        """
        self._exact = exact
        before = spans[0].before
        rows = _rows(spans[0])
        keys = filled(before + rows, finest=KEY_GRAIN, coarsest=KEY_GRAIN)
        count = min(count for count in TOGETHER if count >= len(spans))
        some = [*spans, *[spans[-1]] * (count - len(spans))]
        start = torch.tensor([span.start for span in some])[:, None]
        own = torch.tensor([span.own for span in some])[:, None]
        prefix = torch.tensor([span.prefix_start for span in some])[:, None]
        # Filled up with a sequence's last row: another's may not be finite.
        self._rows = start + torch.arange(rows).minimum(own - 1)
        more = start + torch.arange(keys - before).minimum(own - 1)
        self._keys = torch.cat((prefix + torch.arange(before), more), 1)
        wanted = torch.arange(rows) < own
        wanted[len(spans) :] = False
        self._wanted = wanted.flatten().nonzero()[:, 0]
        mask = torch.full((rows, keys - before), float("-inf"), dtype=torch.float32).triu_(1)
        self._mask = mask.to(torch.float32 if exact else like.dtype)[:, None]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Put answers where their queries are."""
        heads, sharing, size = query.shape[1:]
        items = heads * len(self._rows)
        from_rows = _places(query, self._rows)
        from_keys = _places(key, self._keys)
        mixed = attended(
            _flat(query).index_select(0, from_rows).view(items, -1, size),
            _flat(key).index_select(0, from_keys).view(items, -1, size),
            _flat(value).index_select(0, from_keys).view(items, -1, size),
            self._mask,
            exact=self._exact,
        )
        mixed = mixed.view(heads, -1, sharing * size)[:, self._wanted]
        to_rows = from_rows.view(heads, -1)[:, self._wanted].flatten()
        _flat(query).index_copy_(0, to_rows, mixed.flatten(0, 1))


def _rows(span: Span) -> int:
    return filled(span.own, finest=ROW_GRAIN, coarsest=ROW_GRAIN)


def _flat(states: torch.Tensor) -> torch.Tensor:
    """Each head of each row by itself, in the order of memory: what is gathered by that is fast."""
    size = states[0, 0].numel()
    return states.as_strided((states.numel() // size, size), (size, 1))


def _places(states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Where in `_flat` all heads of some rows are, head by head."""
    row, head = (stride // states[0, 0].numel() for stride in states.stride()[:2])
    return (torch.arange(states.shape[1])[:, None] * head + rows.flatten() * row).flatten()
