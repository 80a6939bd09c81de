"""Every example in the READMEs runs, on small checkpoints under the published names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag.integration import PUBLISHED

ROOT = Path(__file__).resolve().parents[3]
READMES = ["README.md", "shared/core/README.md", "shared/testkit/README.md"]


def _examples(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


@pytest.fixture
def published_names(
    tmp_path: Path, make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fill a Hub cache with small checkpoints, so that the names in the examples open."""
    from huggingface_hub import constants

    for name in ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Reranker-0.6B"):
        record = PUBLISHED[name]
        folder = make_checkpoint(record.role, config={"hidden_size": 512})
        place = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / record.revision
        shutil.copytree(folder, place)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("published_names")
@pytest.mark.parametrize(
    ("name", "example"), [(name, code) for name in READMES for code in _examples(name)]
)
def test_example_runs(name: str, example: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}

    exec(compile(example, name, "exec"), names)

    for key, value in names.items():
        if key.startswith("test_"):
            value()
    if "print(" in example:
        assert capsys.readouterr().out
    for name in ("embedder", "reranker"):
        if name in names:
            names[name].close()


def test_every_readme_has_an_example() -> None:
    for name in READMES:
        assert _examples(name), name
