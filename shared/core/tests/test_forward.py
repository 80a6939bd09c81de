"""What a forward pass makes of torch's memory errors and of numbers that are not finite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.model.forward import PackedForward
from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.serving.batching import Packing
from qwen3_rag.backends._local.serving.loaded import OutOfMemory

SEQUENCES = [TokenSequence((), (1, 2))]


ForwardOver = Callable[[Callable[[bool], torch.Tensor]], PackedForward]


@pytest.fixture
def forward_over(embedding_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ForwardOver:
    """Make a forward pass whose layers are the test's own function of `eager`."""
    eager = [False]

    def set_attention(layers: Layers, *, eager: bool, eager_now: list[bool] = eager) -> None:
        eager_now[0] = eager

    def make(compute: Callable[[bool], torch.Tensor]) -> PackedForward:
        def last_hidden(layers: Layers, packing: Packing, known: None) -> torch.Tensor:
            return compute(eager[0])

        monkeypatch.setattr(Layers, "set_attention", set_attention)
        monkeypatch.setattr(Layers, "last_hidden", last_hidden)
        trunk = AutoModel.from_pretrained(embedding_folder, dtype=torch.float32).eval()
        return PackedForward(trunk, None, "cpu")

    return make


def test_allocator_that_gives_up_is_out_of_memory(forward_over: ForwardOver) -> None:
    def layers(eager: bool) -> torch.Tensor:
        return torch.empty(1 << 60)

    with pytest.raises(OutOfMemory):
        forward_over(layers).run(SEQUENCES)


def test_cudas_error_is_out_of_memory(forward_over: ForwardOver) -> None:
    def layers(eager: bool) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory):
        forward_over(layers).run(SEQUENCES)


def test_other_errors_stay_themselves(forward_over: ForwardOver) -> None:
    def layers(eager: bool) -> torch.Tensor:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        forward_over(layers).run(SEQUENCES)


@pytest.mark.parametrize(("platform", "tries"), [("darwin", [False, True]), ("linux", [False])])
def test_nan_is_tried_again_without_the_fused_kernel_on_macos(
    forward_over: ForwardOver, monkeypatch: pytest.MonkeyPatch, platform: str, tries: Sequence[bool]
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
    forward = PackedForward(trunk, None, "cpu")
    sound = [TokenSequence((), (5, 6, 7)), TokenSequence((), (8, 9))]
    expected = forward.run(sound)

    result = forward.run([sound[0], TokenSequence((), (5, 99)), sound[1]])

    assert np.isfinite(result).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(result[[0, 2]], expected, atol=1e-4)
