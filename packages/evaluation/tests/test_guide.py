"""The examples of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag_testkit.guides import run_examples

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("page", ["packages/evaluation/README.md"])
def test_the_examples_of_the_page_run(page: str) -> None:
    if not (ROOT / page).exists():
        pytest.skip(f"{page} is in the repository alone")
    run_examples(ROOT / page)
