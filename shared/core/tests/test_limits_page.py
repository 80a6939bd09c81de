"""The figures of the pages on limits and measurements are what the commands on them print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qwen3_rag.integration import PUBLISHED

ROOT = Path(__file__).resolve().parents[3]
RESULTS = [str(path) for path in sorted((ROOT / "benchmarks" / "results").glob("engine-*.json"))]


@pytest.mark.parametrize(
    ("module", "page"),
    [("benchmarks.engine.minutes", "limits.md"), ("benchmarks.engine.report", "measurements.md")],
)
def test_the_tables_are_what_the_command_prints(module: str, page: str) -> None:
    command = [sys.executable, "-m", module, *RESULTS]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, encoding="utf-8")

    assert printed.stdout.strip() in (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_sizes_of_vectors_are_those_of_the_models() -> None:
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")

    for name, record in PUBLISHED.items():
        if record.role == "embedding":
            [row] = [line for line in text.splitlines() if f"| {name.partition('/')[2]} |" in line]
            assert f"| {record.dim:,} |" in row
