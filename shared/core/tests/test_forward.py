"""Memory errors and broken numbers on their way out of torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModel

from qwen3_rag.backends._local.checkpoint.load import Loaded
from qwen3_rag.backends._local.model.forward import PackedForward
from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.serving.batching import Packing, TokenSequence
from qwen3_rag.backends._local.serving.request import OutOfMemory

SEQUENCES = [TokenSequence((), (1, 2))]


class Stand:
    """A forward whose layers are the test's own function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, layers: Callable[..., torch.Tensor]) -> PackedForward:
        def last_hidden(_: Layers, packing: Packing, known: None, *, eager: bool) -> torch.Tensor:
            return layers(eager)

        self._monkeypatch.setattr(Layers, "last_hidden", last_hidden)
        trunk = SimpleNamespace(device=torch.device("cpu"), layers=[])
        return PackedForward(Loaded(trunk), "cpu")


@pytest.fixture
def forward_over(monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(monkeypatch)


def test_allocator_that_gives_up_is_out_of_memory(forward_over: Stand) -> None:
    def layers(eager: bool) -> torch.Tensor:
        return torch.empty(1 << 60)

    with pytest.raises(OutOfMemory):
        forward_over(layers).run(SEQUENCES)


def test_cudas_error_is_out_of_memory(forward_over: Stand) -> None:
    def layers(eager: bool) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory):
        forward_over(layers).run(SEQUENCES)


def test_other_errors_stay_themselves(forward_over: Stand) -> None:
    def layers(eager: bool) -> torch.Tensor:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        forward_over(layers).run(SEQUENCES)


@pytest.mark.parametrize(("platform", "tries"), [("darwin", [False, True]), ("linux", [False])])
def test_nan_is_tried_again_without_the_fused_kernel_on_macos(
    forward_over: Stand, monkeypatch: pytest.MonkeyPatch, platform: str, tries: Sequence[bool]
) -> None:
    seen: list[bool] = []

    def layers(eager: bool) -> torch.Tensor:
        seen.append(eager)
        return torch.full((1, 3), 1.0 if eager else float("nan"))

    monkeypatch.setattr(sys, "platform", platform)
    forward = forward_over(layers)

    values = forward.run(SEQUENCES)

    assert seen == list(tries)
    assert np.isfinite(values).all() == (platform == "darwin")
    if platform == "darwin":
        forward.run(SEQUENCES)
        assert seen == [False, True, True]  # the fused kernel is not trusted again


def test_damaged_weight_spoils_those_texts_alone_that_use_it(embedding_folder: Path) -> None:
    trunk = AutoModel.from_pretrained(embedding_folder, dtype=torch.float32).eval()
    trunk.embed_tokens.weight.data[99] = float("nan")
    forward = PackedForward(Loaded(trunk), "cpu")
    sound = [TokenSequence((), (5, 6, 7)), TokenSequence((), (8, 9))]
    expected = forward.run(sound)

    result = forward.run([sound[0], TokenSequence((), (5, 99)), sound[1]])

    assert np.isfinite(result).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(result[[0, 2]], expected, atol=1e-4)
