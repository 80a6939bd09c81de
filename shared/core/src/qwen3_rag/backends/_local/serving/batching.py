"""Splits token sequences into batches and lays a batch out without padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.backends._checkpoint.encoded import TokenSequence

__all__ = ["Packing", "Span", "pack", "plan", "round_up"]

# Limit on a batch's total length, as a multiple of the budget. Shared prefixes count for every
# sequence, because GPU kernels read keys that are gathered per sequence.
GATHERED = 8


def plan(sequences: Sequence[TokenSequence], budget: int, *, pads: bool = False) -> list[list[int]]:
    """Split sequences into batches.

    Sequences with the same prefix are kept together, so that the prefix is computed once per batch,
    and the longest come first, so that a batch too large for memory fails early.

    Args:
        sequences: What to compute.
        budget: Maximum tokens per batch. The first prefix of a batch is not counted: counting it
            would split the batch and compute it more often. A longer sequence gets its own batch.
        pads: Whether the model pads all rows to the longest.

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
            # Lengths are descending, so the first row of a batch determines its width.
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


class Span(NamedTuple):
    """The rows of one sequence in the flat stream, and those of its shared prefix.

    Attributes:
        start: First row.
        length: Number of rows, excluding the prefix.
        prefix_start: First row of the prefix.
        prefix_length: Rows of the prefix, 0 without one.
    """

    start: int
    length: int
    prefix_start: int = 0
    prefix_length: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """A batch as one flat stream of tokens.

    Attributes:
        ids: Token ids, `[tokens]`.
        positions: Position of each token in its own sequence, `[tokens]`.
        prefixes: The shared prefixes, which come before everything else.
        spans: One per sequence, in the order given.
        last: Row of each sequence's last token, `[sequences]`.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    prefixes: list[Span]
    spans: list[Span]
    last: NDArray[np.int64]


def pack(sequences: Sequence[TokenSequence], *, share_from: int = 2) -> Packing:
    """Concatenate sequences, storing each shared prefix once.

    Args:
        sequences: At least one.
        share_from: Minimum number of sequences with a prefix for it to be shared.

    Returns:
        The stream. Attention must respect the spans; everything else works row by row.
    """
    ids: list[int] = []
    positions: list[int] = []

    def append(tokens: Sequence[int], position: int) -> tuple[int, int]:
        start = len(ids)
        ids.extend(tokens)
        positions.extend(range(position, position + len(tokens)))
        return start, len(tokens)

    shared: dict[tuple[int, ...], Span] = {}
    for prefix, uses in Counter([sequence.prefix for sequence in sequences]).items():
        if prefix and uses >= share_from:
            shared[prefix] = Span(*append(prefix, 0))
    spans: list[Span] = []
    last: list[int] = []
    for sequence in sequences:
        if prefix_span := shared.get(sequence.prefix):
            rows = append(sequence.ids, prefix_span.length)
            spans.append(Span(*rows, prefix_span.start, prefix_span.length))
        else:
            spans.append(Span(*append((*sequence.prefix, *sequence.ids), 0)))
        last.append(len(ids) - 1)
    return Packing(
        ids=np.asarray(ids, dtype=np.int64),
        positions=np.asarray(positions, dtype=np.int64),
        prefixes=list(shared.values()),
        spans=spans,
        last=np.asarray(last, dtype=np.int64),
    )


def round_up(count: int, *, finest: int = 1, coarsest: int | None = None) -> int:
    """Round up to a multiple of a power of two that grows with the count.

    There are at most eight results per power of two, each less than an eighth above the count.

    Args:
        count: At least one.
        finest: Smallest multiple to use.
        coarsest: Largest multiple to use; no limit when omitted.

    Returns:
        The rounded count.
    """
    multiple = 1 << max(0, (count - 1).bit_length() - 4)
    if coarsest is not None:
        multiple = min(coarsest, multiple)
    multiple = max(finest, multiple)
    return -(-count // multiple) * multiple
