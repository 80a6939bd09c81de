"""Token sequences to batches, and a batch to one flat stream without padding.

Pure arithmetic over lengths and ids: knows no text, no torch and no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packing", "Span", "TokenSequence", "filled", "pack", "plan"]

# How many times the budget a batch's sequences may have in all, shared prefixes counted for each:
# kernels of GPUs read keys that were gathered so.
GATHERED = 8


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """The ids of one prompt.

    Attributes:
        prefix: Leading ids that other sequences of the batch may share; empty for none.
        ids: The rest, at least one.
    """

    prefix: tuple[int, ...]
    ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prefix) + len(self.ids)


def plan(sequences: Sequence[TokenSequence], budget: int, *, pads: bool = False) -> list[list[int]]:
    """Split sequences into batches.

    Sequences of one prefix stay together, longest first, so that the prefix is computed once per
    batch and a batch that does not fit in memory is met early.

    Args:
        sequences: What to compute.
        budget: Tokens a batch may hold beside its first prefix, which is free: with less beside
            it, it would be computed more often. A longer sequence gets a batch of its own.
        pads: Whether the model fills every row up to the longest.

    Returns:
        Indices into `sequences`, each exactly once.
    """
    groups: dict[tuple[int, ...], int] = {}
    for sequence in sequences:
        groups.setdefault(sequence.prefix, len(groups))
    order = sorted(
        range(len(sequences)),
        key=lambda i: (0 if pads else groups[sequences[i].prefix], -sequences[i].length, i),
    )
    batches: list[list[int]] = []
    batch: list[int] = []
    prefixes: set[tuple[int, ...]] = set()
    tokens = keys = 0
    for index in order:
        sequence = sequences[index]
        if pads:
            # Lengths fall, so the first row of a batch sets its width.
            tokens = sequences[batch[0]].length * (len(batch) + 1) if batch else 0
        else:
            tokens += len(sequence.ids)
            if prefixes and sequence.prefix not in prefixes:
                tokens += len(sequence.prefix)
        keys += sequence.length
        if batch and (tokens > budget or keys > GATHERED * budget):
            batches.append(batch)
            batch, prefixes = [], set()
            tokens, keys = len(sequence.ids), sequence.length
        batch.append(index)
        prefixes.add(sequence.prefix)
    if batch:
        batches.append(batch)
    return batches


@dataclass(frozen=True, slots=True)
class Span:
    """Where one sequence lies in the flat stream: its shared prefix if any, and its own rows."""

    prefix_start: int
    prefix_stop: int
    start: int
    stop: int

    @property
    def before(self) -> int:
        """Rows of the prefix."""
        return self.prefix_stop - self.prefix_start

    @property
    def own(self) -> int:
        """Rows of its own."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """A batch as one flat stream.

    Attributes:
        ids: Token ids, `[tokens]`.
        positions: Position of each token in its own sequence, `[tokens]`.
        prefixes: Rows, from and up to, of each shared prefix; they come before all others.
        spans: One per sequence, in the order given.
        last: Row of each sequence's last token, `[sequences]`.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    prefixes: tuple[tuple[int, int], ...]
    spans: tuple[Span, ...]
    last: NDArray[np.int64]


def pack(sequences: Sequence[TokenSequence], *, share_from: int = 2) -> Packing:
    """Lay sequences end to end behind the prefixes they share, each of which is there once.

    Args:
        sequences: At least one.
        share_from: How many sequences an equal prefix takes to get rows of its own.

    Returns:
        The stream. Attention has to keep to the spans; everything else works row by row.
    """
    uses = Counter(sequence.prefix for sequence in sequences if sequence.prefix)
    ids: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []

    def lay(tokens: Sequence[int], first: int) -> tuple[int, int]:
        start = len(ids)
        ids.extend(tokens)
        positions.extend(range(first, first + len(tokens)))
        return start, len(ids)

    shared = {prefix: lay(prefix, 0) for prefix, count in uses.items() if count >= share_from}
    for sequence in sequences:
        if sequence.prefix in shared:
            own = lay(sequence.ids, len(sequence.prefix))
            spans.append(Span(*shared[sequence.prefix], *own))
        else:
            spans.append(Span(0, 0, *lay((*sequence.prefix, *sequence.ids), 0)))
    return Packing(
        ids=np.asarray(ids, dtype=np.int64),
        positions=np.asarray(positions, dtype=np.int64),
        prefixes=tuple(shared.values()),
        spans=tuple(spans),
        last=np.asarray([span.stop - 1 for span in spans], dtype=np.int64),
    )


def filled(count: int, *, finest: int = 1, coarsest: int | None = None) -> int:
    """Round a count up to one of few, eight to each power of two: by less than an eighth.

    Args:
        count: At least one.
        finest: What it has to be a multiple of at least.
        coarsest: The most that it has to be a multiple of.

    Returns:
        As much or more.
    """
    grain = 1 << max(0, (count - 1).bit_length() - 4)
    grain = max(finest, grain if coarsest is None else min(coarsest, grain))
    return -(-count // grain) * grain
