"""The examples of the README and of the guide run, with models that need no download."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import qwen3_rag
from qwen3_rag_testkit.backends import TextBackend

PACKAGE = Path(__file__).parents[1]
TEXTS = [PACKAGE / "README.md", PACKAGE.parents[1] / "docs" / "hybrid.md"]


class Embedder(qwen3_rag.Qwen3Embedder):
    def __init__(self, model: str, **settings: Any) -> None:
        super().__init__(model, backend=TextBackend("embedding", 1024), **settings)


class Reranker(qwen3_rag.Qwen3Reranker):
    def __init__(self, model: str, **settings: Any) -> None:
        super().__init__(model, backend=TextBackend("reranking"), **settings)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_examples_run_one_after_the_other(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(qwen3_rag, "Qwen3Embedder", Embedder)
    monkeypatch.setattr(qwen3_rag, "Qwen3Reranker", Reranker)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    examples = re.findall(r"```python\n(.*?)```", text.read_text(encoding="utf-8"), re.S)
    for example in examples:
        exec(compile(example, text.name, "exec"), names)

    assert examples
    assert "rerank" in capsys.readouterr().out
    names["searcher"].close()
