from __future__ import annotations

import re

import pytest

from qwen3_rag._published import PUBLISHED, published


def test_all_six_checkpoints_are_there_with_pinned_commits() -> None:
    assert len(PUBLISHED) == 6
    for record in PUBLISHED.values():
        assert re.fullmatch(r"[0-9a-f]{40}", record.revision)
    assert len({record.revision for record in PUBLISHED.values()}) == 6


@pytest.mark.parametrize(
    ("name", "layers", "dim", "tied"),
    [("0.6B", 28, 1024, True), ("4B", 36, 2560, True), ("8B", 36, 4096, False)],
)
def test_sizes_are_the_model_cards(name: str, layers: int, dim: int, tied: bool) -> None:
    for kind in ("Embedding", "Reranker"):
        record = PUBLISHED[f"Qwen/Qwen3-{kind}-{name}"]
        assert (record.layers, record.dim, record.tied, record.context) == (
            layers,
            dim,
            tied,
            32_768,
        )


def test_modelscope_ids_find_the_same_record() -> None:
    name = "Qwen/Qwen3-Reranker-4B"

    assert published(f"modelscope:{name}") is published(name)
    assert published("somebody/else") is None
