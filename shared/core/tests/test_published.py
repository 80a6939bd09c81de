"""The records of the published checkpoints."""

from __future__ import annotations

import re

import pytest

from qwen3_rag._published import KNOWN, PUBLISHED, published


def test_all_six_checkpoints_are_there_with_pinned_commits() -> None:
    assert len(PUBLISHED) == 6
    for record in PUBLISHED.values():
        assert re.fullmatch(r"[0-9a-f]{40}", record.revision)
    assert len({record.revision for record in PUBLISHED.values()}) == 6


@pytest.mark.parametrize(("name", "dim"), [("0.6B", 1024), ("4B", 2560), ("8B", 4096)])
def test_sizes_are_the_model_cards(name: str, dim: int) -> None:
    for kind in ("Embedding", "Reranker"):
        record = PUBLISHED[f"Qwen/Qwen3-{kind}-{name}"]
        assert (record.dim, record.context) == (dim, 32_768)


def test_modelscope_ids_find_the_same_record() -> None:
    name = "Qwen/Qwen3-Reranker-4B"

    assert published(f"modelscope:{name}") is published(name)
    assert published("somebody/else") is None


def test_known_models_are_of_others_and_say_what_they_need() -> None:
    names = [record.name for record in KNOWN]

    assert len(set(names)) == len(names)
    assert not set(names) & set(PUBLISHED)
    for record in KNOWN:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", record.name)
        assert record.dim % 64 == 0
        assert record.needs
        assert record.source
