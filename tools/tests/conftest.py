"""Fixtures: two torch threads, and the folder of the training data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not (folder / "DATA.md").is_file():
        pytest.skip(f"the training data is not in {folder.name!r} beside the repository")
    return folder
