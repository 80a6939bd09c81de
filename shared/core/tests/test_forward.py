"""Memory errors and broken numbers on their way out of torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from qwen3_rag.backends.local.batching import TokenSequence
from qwen3_rag.backends.local.forward import PackedForward
from qwen3_rag.backends.local.loading import Loaded
from qwen3_rag.backends.local.request import OutOfMemory

SEQUENCES = [TokenSequence((), (1, 2))]


def forward_over(trunk: Any) -> PackedForward:
    return PackedForward(Loaded(trunk), "cpu")


def test_allocator_that_gives_up_is_out_of_memory() -> None:
    def trunk(**_: Any) -> Any:
        return torch.empty(1 << 60)

    with pytest.raises(OutOfMemory):
        forward_over(trunk).run(SEQUENCES)


def test_cudas_error_is_out_of_memory() -> None:
    def trunk(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory):
        forward_over(trunk).run(SEQUENCES)


def test_other_errors_stay_themselves() -> None:
    def trunk(**_: Any) -> Any:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        forward_over(trunk).run(SEQUENCES)


@pytest.mark.parametrize(("platform", "tries"), [("darwin", [False, True]), ("linux", [False])])
def test_nan_is_tried_again_without_the_fused_kernel_on_macos(
    monkeypatch: pytest.MonkeyPatch, platform: str, tries: Sequence[bool]
) -> None:
    seen: list[bool] = []

    def trunk(*, eager: bool, **_: Any) -> Any:
        seen.append(eager)
        hidden = torch.full((1, 2, 3), 1.0 if eager else float("nan"))
        return SimpleNamespace(last_hidden_state=hidden)

    monkeypatch.setattr(sys, "platform", platform)
    forward = forward_over(trunk)

    values = forward.run(SEQUENCES)

    assert seen == list(tries)
    assert np.isfinite(values).all() == (platform == "darwin")
    if platform == "darwin":
        forward.run(SEQUENCES)
        assert seen == [False, True, True]  # the fused kernel is not trusted again
