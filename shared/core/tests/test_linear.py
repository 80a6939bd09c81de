"""oneDNN's fused products, which are private to torch, against the plain ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from qwen3_rag.backends._local.device import onednn_takes_bfloat16
from qwen3_rag.backends._local.model.linear import PlainLinear, ReorderedLinear, can_reorder, linear

NEEDS_ONEDNN = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]  # torch's own
    reason="this torch comes without oneDNN",
)


@pytest.fixture
def fresh_check() -> Iterator[None]:
    can_reorder.cache_clear()
    yield
    can_reorder.cache_clear()


def module(dtype: torch.dtype = torch.float32, *, bias: bool = False) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(48, 80, bias=bias, dtype=dtype).requires_grad_(False)


@NEEDS_ONEDNN
@pytest.mark.parametrize("rows", [1, 7, 600])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float32, 1e-5),
        pytest.param(
            torch.bfloat16,
            3e-2,
            marks=pytest.mark.skipif(
                not onednn_takes_bfloat16(), reason="oneDNN takes no bfloat16 on this CPU"
            ),
        ),
    ],
    ids=str,
)
def test_reordered_products_equal_plain_ones(
    rows: int, dtype: torch.dtype, tolerance: float
) -> None:
    layer = module(dtype)
    plain = PlainLinear(layer)
    reordered = ReorderedLinear(layer.weight)
    states = torch.randn(rows, 48).to(dtype)
    other = torch.randn(rows, 80).to(dtype)

    with torch.inference_mode():
        for expected, result in (
            (plain(states), reordered(states)),
            (plain.linear_silu(states), reordered.linear_silu(states)),
            (plain.linear_mul(states, other), reordered.linear_mul(states, other)),
            (plain.linear_add(states, other), reordered.linear_add(states, other)),
        ):
            torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)


AS_ON_AVX2 = """
import torch
from qwen3_rag.backends._local.device import choose_dtype
from qwen3_rag.backends._local.model.linear import linear

with torch.inference_mode():
    module = torch.nn.Linear(48, 80, bias=False, dtype=torch.bfloat16)
    states = torch.randn(7, 48).to(torch.bfloat16)
    expected = module(states)
    torch.testing.assert_close(linear(module)(states), expected, rtol=3e-2, atol=3e-2)
print(choose_dtype(None, "cpu", hidden_size=64))
"""


def test_without_native_bfloat16_it_works_when_asked_for_and_is_not_the_default() -> None:
    # oneDNN reads the variable once: a process of its own.
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_AVX2],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )

    assert done.stdout.strip() == "torch.float32"


@NEEDS_ONEDNN
def test_a_reordered_weight_is_not_kept_twice(fresh_check: None) -> None:
    layer = module()

    assert isinstance(linear(layer), ReorderedLinear)
    assert layer.weight.numel() == 0


def test_the_callers_random_numbers_stay_where_they_are(fresh_check: None) -> None:
    before = torch.random.get_rng_state()

    can_reorder(torch.float32)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_modules_of_other_kinds_are_called_as_they_are() -> None:
    class Quantised(torch.nn.Linear):
        """What quantising libraries put in place of a layer."""

    class Packed(torch.Tensor):
        """What others put in place of its weight."""

    packed = module()
    packed.weight = torch.nn.Parameter(torch.zeros(80, 48).as_subclass(Packed), requires_grad=False)

    assert isinstance(linear(packed), PlainLinear)
    assert isinstance(linear(Quantised(4, 4, bias=False)), PlainLinear)
    assert isinstance(linear(module(bias=True)), PlainLinear)


@pytest.mark.parametrize("trouble", ["gone", "wrong"])
def test_operators_that_torch_has_changed_are_not_used(
    monkeypatch: pytest.MonkeyPatch, fresh_check: None, trouble: str
) -> None:
    def wrong(rows: torch.Tensor, weight: Any, *_: Any) -> torch.Tensor:
        return torch.zeros(len(rows), 96)

    operators: dict[str, Any] = {}
    if trouble == "wrong":
        wrong.binary = wrong  # type: ignore[attr-defined]  # as torch's operators have overloads
        operators["_reorder_linear_weight"] = lambda weight, rows: weight
        operators["_linear_pointwise"] = wrong
    monkeypatch.setattr(torch, "ops", SimpleNamespace(mkldnn=SimpleNamespace(**operators)))

    layer = module()

    assert isinstance(linear(layer), PlainLinear)
    assert layer.weight.numel() == 48 * 80
