"""An adapter trained on half of a collection's queries improves the other half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="adapters need peft")
pytest.importorskip("qwen3_rag_tiny", reason="the tiny model is trained")

from benchmarks.lora import Result, interval, measure, read

COLLECTION = Path(__file__).resolve().parents[2] / "shared" / "corpora" / "cosqa"

pytestmark = pytest.mark.skipif(
    not COLLECTION.is_dir(), reason="the collection cosqa is not beside the repository"
)


def check_same_vectors(result: Result) -> None:
    assert result.merged_cosine > 0.99999
    assert result.library_cosine is None or result.library_cosine > 0.99999


def test_adapter_improves_some_held_out_queries(tmp_path: Path) -> None:
    halves = read(COLLECTION, queries=160)

    result = measure(halves, tmp_path, steps=20)

    trained_on = {place for _, place in halves.training}
    assert not trained_on & {place for _, place in halves.held_out}
    assert result.difference > 0.02
    check_same_vectors(result)


@pytest.mark.slow
def test_adapter_improves_the_held_out_half(tmp_path: Path) -> None:
    result = measure(read(COLLECTION), tmp_path, steps=150)

    assert result.low > 0
    check_same_vectors(result)


def test_interval_covers_the_mean_of_most_samples() -> None:
    numbers = np.random.default_rng(5)
    covered = 0
    for _ in range(40):
        low, high = interval(numbers.normal(0.1, 1.0, 100))
        covered += low < 0.1 < high
    assert covered >= 34
