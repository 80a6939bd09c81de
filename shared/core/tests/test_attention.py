"""Every way of attending gives what plain products over one sequence at a time give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.model.attention import matmul as matmul_module
from qwen3_rag.backends._local.model.attention import packed as packed_module
from qwen3_rag.backends._local.model.attention import varlen as varlen_module
from qwen3_rag.backends._local.model.attention.choose import Attention, choose_attention
from qwen3_rag.backends._local.model.attention.matmul import alloc_states, group
from qwen3_rag.backends._local.model.attention.packed import PackedAttention, has_lse
from qwen3_rag.backends._local.model.attention.varlen import (
    VarlenAttention,
    varlen_kernel,
    varlen_kernels,
)
from qwen3_rag.backends._local.serving.batching import Packing, Span, pack

KEY_HEADS, SHARING, SIZE = 2, 3, 16

sequences = st.lists(
    st.builds(
        TokenSequence,
        st.sampled_from([(), (1, 2, 3), (4,) * 20]),
        # Short ones, and some that are not.
        st.integers(1, 60).map(lambda n: (5,) * n),
    ),
    min_size=1,
    max_size=8,
)


def plain(packing: Packing, *states: torch.Tensor) -> torch.Tensor:
    """Attend one sequence at a time, in double precision, with the formula and nothing else."""
    query, key, value = (part.double() for part in states)
    output = torch.zeros_like(query)
    for span in packing.spans:
        rows = [
            *range(span.prefix_start, span.prefix_start + span.prefix_length),
            *range(span.start, span.start + span.length),
        ]
        for place, row in enumerate(rows):
            seen = rows[: place + 1]
            for head, shared in product(range(KEY_HEADS), range(SHARING)):
                weights = (key[seen, head] @ query[row, head, shared] / SIZE**0.5).softmax(0)
                output[row, head, shared] = weights @ value[seen, head]
    return output


def states(packing: Packing, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((KEY_HEADS, SHARING), (KEY_HEADS,), (KEY_HEADS,))
    return [
        torch.randn((len(packing.ids), *heads, SIZE), generator=generator).to(dtype)
        for heads in shapes
    ]


def aligned_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    longest_query: int,
    longest_key: int,
) -> torch.Tensor:
    """Do as the variable-length kernels do: causal, queries aligned with the end of the keys."""
    output, sharing = torch.empty_like(query), query.shape[1] // key.shape[1]
    for i in range(len(query_bounds) - 1):
        a, b = query_bounds[i : i + 2].tolist()
        c, d = key_bounds[i : i + 2].tolist()
        assert b - a <= longest_query
        assert d - c <= longest_key
        hidden = torch.ones((b - a, d - c), dtype=torch.bool).tril(d - c - (b - a))
        output[a:b] = torch.nn.functional.scaled_dot_product_attention(
            query[a:b].transpose(0, 1),
            key[c:d].repeat_interleave(sharing, 1).transpose(0, 1),
            value[c:d].repeat_interleave(sharing, 1).transpose(0, 1),
            attn_mask=hidden,
        ).transpose(0, 1)
    return output


def fused(packing: Packing, like: torch.Tensor) -> Attention:
    return PackedAttention(packing, device=like.device, dtype=like.dtype, eager=False)


def eager(packing: Packing, like: torch.Tensor) -> Attention:
    return PackedAttention(packing, device=like.device, dtype=like.dtype, eager=True)


def varlen(packing: Packing, like: torch.Tensor) -> Attention:
    return VarlenAttention(packing, aligned_kernel, like.device)


WAYS = [fused, eager, varlen]
Way = Callable[[Packing, torch.Tensor], Attention]


def check(way: Way, packing: Packing, dtype: torch.dtype, tolerance: float) -> None:
    by_rows = states(packing, dtype)
    expected = plain(packing, *by_rows)
    by_heads = [alloc_states(part, *part.shape[1:]).fill_(float("nan")) for part in by_rows]
    for part, rows in zip(by_heads, by_rows, strict=True):
        part[: len(rows)] = rows
    last = torch.from_numpy(packing.last)

    for query, key, value in ([part.contiguous() for part in by_heads], by_heads):
        attend = way(packing, query)
        result = attend.last(query[last], key, value)
        torch.testing.assert_close(result.double(), expected[last], rtol=0, atol=tolerance)
        result = attend.all(query, key, value)
        result = result[: len(expected)].double()
        torch.testing.assert_close(result, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25)
@given(items=sequences)
def test_equals_the_formula(way: Way, items: list[TokenSequence]) -> None:
    check(way, pack(items), torch.float32, 1e-5)


@settings(max_examples=25)
@given(items=sequences)
def test_products_in_bfloat16_equal_the_formula_but_for_rounding(
    items: list[TokenSequence],
) -> None:
    check(fused, pack(items), torch.bfloat16, 5e-2)


LENGTHS = [9, 3, 16, 17, 12, 9, 48, 1, 9, 30, 49] * 3


@pytest.mark.parametrize("way", [fused, eager])
def test_many_short_sequences_equal_the_formula(way: Way) -> None:
    prefixes = [(), (1, 2, 3), (4,) * 20]
    items = [TokenSequence(prefixes[n % 3], (5,) * n) for n in LENGTHS]

    check(way, pack(items), torch.float32, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_company_does_not_change_a_short_sequences_bits(dtype: torch.dtype) -> None:
    """Equal texts have to get equal scores, and a damaged one must not spoil its neighbours."""
    packing = pack([TokenSequence((1, 2, 3), (4,) * n) for n in LENGTHS], share_from=1)
    query, key, value = (alloc_states(part, *part.shape[1:]) for part in states(packing, dtype))
    for part, rows in zip((query, key, value), states(packing, dtype), strict=True):
        part[: len(rows)] = rows
    damaged = packing.spans[4]
    value[damaged.start : damaged.start + damaged.length] = float("nan")
    asked = query.clone()

    together = fused(packing, query).all(query, key, value)

    for span in packing.spans:
        own = slice(span.start, span.start + span.length)
        only = Packing(packing.ids, packing.positions, [], [span], packing.last)
        alone = fused(only, query).all(asked.clone(), key, value)[own]
        torch.testing.assert_close(together[own], alone, rtol=0, atol=0, equal_nan=True)
        assert alone.isnan().any() == (span is damaged)


@given(
    spans=st.lists(
        st.builds(Span, st.just(10), st.integers(1, 48), st.just(0), st.sampled_from([0, 7])),
        max_size=40,
    )
)
def test_groups_hold_each_short_sequence_once(spans: list[Span]) -> None:
    made = list(group(spans))

    assert sorted(span for some, _ in made for span in some) == sorted(spans)
    for some, size in made:
        assert len({span.prefix_length for span in some}) == 1
        assert len({(span.length - 1) // 16 for span in some}) == 1
        assert size in (1, 4, 16)
        assert size - 3 <= len(some) <= size  # padded by three at most


def test_without_the_private_kernel_the_prefix_comes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packing = pack([TokenSequence((1, 2, 3), (4,) * n) for n in (5, 2, 9)])
    monkeypatch.setattr(packed_module, "has_lse", lambda: False)

    check(fused, packing, torch.float32, 1e-5)


def test_sequences_too_long_for_products_take_the_fused_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packing = pack([TokenSequence((1,) * 10, (2,) * n) for n in (4, 30, 60, 28)])
    monkeypatch.setitem(packed_module.LONGEST, torch.bfloat16, 50)

    check(fused, packing, torch.bfloat16, 5e-2)


def test_a_kernel_that_torch_has_changed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: Any, **__: Any) -> Any:
        raise TypeError("unexpected argument")

    name = "_scaled_dot_product_flash_attention_for_cpu"
    monkeypatch.setattr(torch.ops.aten, name, changed)
    has_lse.cache_clear()
    try:
        assert not has_lse()
    finally:
        has_lse.cache_clear()


@pytest.mark.parametrize("way", [fused, eager])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_long_sequences_are_attended_from_some_rows_at_a_time(
    way: Way, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = pack([TokenSequence((1, 2, 3), (4,) * n) for n in (50, 4, 33)])
    monkeypatch.setattr(matmul_module, "STEP_SCORES", 300)

    check(way, packing, dtype, 1e-5 if dtype == torch.float32 else 5e-2)


# ------------------------------------------------------------------ the choice of a kernel


def failing(*_: Any) -> torch.Tensor:
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")


def unaligned_kernel(query: torch.Tensor, *others: Any) -> torch.Tensor:
    return torch.zeros_like(query)


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    varlen_kernel.cache_clear()
    yield
    varlen_kernel.cache_clear()


def test_the_first_kernel_that_works_is_taken(
    monkeypatch: pytest.MonkeyPatch, fresh_choice: None
) -> None:
    kernels = [failing, unaligned_kernel, aligned_kernel]
    monkeypatch.setattr(varlen_module, "varlen_kernels", lambda: iter(kernels))

    assert varlen_kernel(torch.device("cpu"), torch.float32) is aligned_kernel


def test_where_none_works_there_is_none(
    monkeypatch: pytest.MonkeyPatch, fresh_choice: None
) -> None:
    monkeypatch.setattr(varlen_module, "varlen_kernels", lambda: iter([failing]))

    assert varlen_kernel(torch.device("cpu"), torch.float32) is None


def test_torchs_kernel_is_called_as_this_release_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("torch.nn.attention.varlen", reason="torch before 2.10")
    signature = inspect.signature(module.varlen_attn)
    calls = []

    def record(*given: Any, **named: Any) -> torch.Tensor:
        calls.append(signature.bind(*given, **named))
        query: torch.Tensor = given[0]
        return query

    record.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` looks for
    monkeypatch.setattr(module, "varlen_attn", record)
    kernel = list(varlen_kernels())[-1]
    packing = pack([TokenSequence((1, 2, 3), (4,) * n) for n in (5, 2)])
    query, key, value = states(packing, torch.float32)

    VarlenAttention(packing, kernel, query.device).all(query, key, value)

    assert len(calls) == 1


@pytest.mark.gpu
def test_the_device_kernel_equals_the_formula() -> None:
    if not torch.cuda.is_available():
        pytest.skip("gpu: torch sees no CUDA device")
    packing = pack([TokenSequence((1, 2, 3), (4,) * n) for n in (5, 2, 9)])
    query, key, value = (part.cuda() for part in states(packing, torch.bfloat16))

    attend = choose_attention(query.device, query.dtype, eager=False)(packing, 0)
    expected = plain(packing, query.cpu(), key.cpu(), value.cpu())
    result = attend.all(query, key, value)
    torch.testing.assert_close(result.cpu().double(), expected, rtol=0, atol=5e-2)
    last = torch.from_numpy(packing.last)
    result = attend.last(query[last.cuda()], key, value)
    torch.testing.assert_close(result.cpu().double(), expected[last], rtol=0, atol=5e-2)
