"""Shared prefixes: computed once, kept within bounds, and the same scores either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.model import forward as forward_module
from qwen3_rag.backends._local.model.attention import packed as packed_module
from qwen3_rag.backends._local.model.forward import PackedForward
from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.serving.batching import Packing
from qwen3_rag.backends._local.serving.loaded import OutOfMemory

Computed = list[list[int]]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Computed:
    """The tokens of each pass over prefixes."""
    passes: Computed = []
    keys_and_values = Layers.keys_and_values

    def counted(layers: Layers, packing: Packing) -> torch.Tensor:
        passes.append(packing.ids.tolist())
        return keys_and_values(layers, packing)

    monkeypatch.setattr(Layers, "keys_and_values", counted)
    return passes


@pytest.fixture
def forward(embedding_folder: Path) -> Callable[..., PackedForward]:
    def make(dtype: torch.dtype = torch.float32, **settings: bool) -> PackedForward:
        trunk = AutoModel.from_pretrained(embedding_folder, dtype=dtype).eval()
        return PackedForward(trunk, None, "cpu", **settings)

    return make


def sequences(prefix: Sequence[int], *lengths: int) -> list[TokenSequence]:
    return [TokenSequence(tuple(prefix), tuple(range(5, 5 + n))) for n in lengths]


def unshared(batch: list[TokenSequence]) -> list[TokenSequence]:
    """The same tokens, without a prefix that could be computed once."""
    return [TokenSequence((), (*sequence.prefix, *sequence.ids)) for sequence in batch]


def test_prefix_is_computed_once_for_all_batches(
    forward: Callable[..., PackedForward], computed: Computed
) -> None:
    model = forward()

    for lengths in ((30, 20), (7,), (1, 1)):
        model.run(sequences((1, 2, 3), *lengths))

    assert computed == [[1, 2, 3]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_result_is_the_same_to_the_bit_once_the_prefix_is_known(
    forward: Callable[..., PackedForward], dtype: torch.dtype
) -> None:
    model, batch = forward(dtype), sequences(range(40), 30, 20, 3)

    first = model.run(batch)

    np.testing.assert_array_equal(model.run(batch), first)


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that nothing was written to is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("has_lse", [True, False])
@pytest.mark.parametrize("longest", [0, 1_000], ids=["fused", "products"])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_known_prefix_equals_repeating_it(
    forward: Callable[..., PackedForward],
    monkeypatch: pytest.MonkeyPatch,
    poisoned: None,
    dtype: torch.dtype,
    eager: bool,
    longest: int,
    has_lse: bool,
) -> None:
    monkeypatch.setitem(packed_module.LONGEST, dtype, longest)
    monkeypatch.setattr(packed_module, "has_lse", lambda: has_lse)
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    model, batch = forward(dtype, eager=eager), sequences(range(40), 1, 3, 30, 200)
    expected = forward(dtype, eager=eager).run(unshared(batch))

    for _ in range(2):
        difference = np.linalg.norm(model.run(batch) - expected, axis=1)
        assert (difference / np.linalg.norm(expected, axis=1) < tolerance).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_equal_sequences_give_equal_bits(
    forward: Callable[..., PackedForward], dtype: torch.dtype
) -> None:
    for length in (2, 30, 200):
        result = forward(dtype).run(sequences(range(40), *[length] * 5))

        np.testing.assert_array_equal(result, result[[0] * 5])


def test_several_prefixes_are_computed_in_one_pass(
    forward: Callable[..., PackedForward], computed: Computed
) -> None:
    model = forward()
    batch = sequences((1, 2), 9) + sequences((3,), 9) + sequences((1, 2), 4)
    expected = forward().run(unshared(batch))

    result = model.run(batch)
    again = model.run(sequences((3,), 4) + sequences((1, 2), 9))

    assert computed == [[1, 2, 3]]
    np.testing.assert_allclose(result, expected, atol=1e-4)
    np.testing.assert_allclose(again[1], expected[0], atol=1e-4)


def test_prefix_used_longest_ago_makes_room(
    forward: Callable[..., PackedForward], computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_module, "CACHED_TOKENS", 5)
    model = forward()

    for prefix in ((1, 1), (2, 2), (1, 1), (3, 3), (1, 1), (2, 2)):
        model.run(sequences(prefix, 4))

    assert computed == [[1, 1], [2, 2], [3, 3], [2, 2]]


def test_prefix_too_long_to_keep_gives_the_same(
    forward: Callable[..., PackedForward], computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_module, "CACHED_TOKENS", 5)
    batch = sequences(range(20), 9, 4)

    result = forward().run(batch)

    assert computed == []
    np.testing.assert_allclose(result, forward().run(unshared(batch)), atol=1e-4)


def test_memory_error_frees_what_was_kept(
    forward: Callable[..., PackedForward], computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object, **__: object) -> torch.Tensor:
        raise MemoryError

    model, batch = forward(), sequences((1, 2, 3), 4)
    model.run(batch)
    with monkeypatch.context() as patch:
        patch.setattr(Layers, "last_hidden", short)
        with pytest.raises(OutOfMemory):
            model.run(batch)

    model.run(batch)

    assert computed == [[1, 2, 3]] * 2
