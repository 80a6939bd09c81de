"""Batches within the budget, and streams from which every sequence can be read back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.serving.batching import GATHERED, pack, plan, round_up

prefixes = st.sampled_from([(), (1,), (1, 2, 3), (7,) * 20])
sequences = st.lists(
    st.builds(
        TokenSequence,
        prefix=prefixes,
        ids=st.lists(st.integers(0, 99), min_size=1, max_size=40).map(tuple),
    ),
    max_size=30,
)


def _rows(batch: list[TokenSequence]) -> int:
    return sum(len(p) for p in {s.prefix for s in batch}) + sum(len(s.ids) for s in batch)


def _fits(batch: list[TokenSequence], budget: int, *, pads: bool = False) -> bool:
    if pads:
        return max(sequence.length for sequence in batch) * len(batch) <= budget
    tokens = sum(sequence.length for sequence in batch)
    return _rows(batch) - len(batch[0].prefix) <= budget and tokens <= GATHERED * budget


@given(sequences, st.integers(1, 200), st.booleans())
def test_plan_places_each_sequence_once_and_keeps_to_the_budget(
    items: list[TokenSequence], budget: int, pads: bool
) -> None:
    batches = plan(items, budget, pads=pads)

    assert sorted(i for batch in batches for i in batch) == list(range(len(items)))
    for batch in batches:
        assert len(batch) == 1 or _fits([items[i] for i in batch], budget, pads=pads)


@given(sequences, st.integers(1, 200))
def test_plan_is_not_wasteful(items: list[TokenSequence], budget: int) -> None:
    batches = plan(items, budget)

    # Two neighbouring batches never fit into one.
    for left, right in pairwise(batches):
        together = [items[i] for i in (*left, right[0])]
        assert not _fits(together, budget)


def test_plan_starts_with_the_longest() -> None:
    items = [TokenSequence((), (1,) * length) for length in (3, 9, 5)]

    assert plan(items, 9) == [[1], [2, 0]]


def test_plan_keeps_sequences_of_one_prefix_together() -> None:
    a, b = (1,) * 5, (2,) * 5
    items = [TokenSequence(p, (0,) * 5) for p in (a, b, a, b)]

    assert plan(items, 10) == [[0, 2], [1, 3]]


def test_plan_computes_a_long_prefix_for_many_at_a_time() -> None:
    items = [TokenSequence((1,) * 90, (0,) * 10)] * 20

    assert [len(batch) for batch in plan(items, 100)] == [8, 8, 4]
    assert [len(batch) for batch in plan(items, 200)] == [16, 4]


@given(sequences.filter(bool), st.integers(1, 4))
def test_pack_lets_every_sequence_be_read_back(items: list[TokenSequence], share_from: int) -> None:
    packing = pack(items, share_from=share_from)

    for sequence, span, last in zip(items, packing.spans, packing.last, strict=True):
        rows = [
            *range(span.prefix_start, span.prefix_start + span.prefix_length),
            *range(span.start, span.start + span.length),
        ]
        assert packing.ids[rows].tolist() == [*sequence.prefix, *sequence.ids]
        assert packing.positions[rows].tolist() == list(range(sequence.length))
        assert last == rows[-1]


@given(sequences.filter(bool))
def test_pack_holds_no_padding_and_each_prefix_once(items: list[TokenSequence]) -> None:
    packing = pack(items)

    assert len(packing.ids) == _rows(items)
    assert packing.ids.dtype == packing.positions.dtype == np.int64


@given(count=st.integers(1, 100_000), finest=st.sampled_from([1, 2, 32]))
def test_counts_are_rounded_up_by_little(count: int, finest: int) -> None:
    result = round_up(count, finest=finest)

    assert result % finest == 0
    assert count <= result < count + max(finest, count / 8)
    assert result <= round_up(count + 1, finest=finest)
    assert round_up(result, finest=finest) == result
    assert round_up(count, coarsest=32) < count + 32


def test_rounded_counts_are_few() -> None:
    assert len({round_up(count) for count in range(1, 1_025)}) == 8 + 8 * 7
