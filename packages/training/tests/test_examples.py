"""The examples of the training guide run one after another in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_training import read_examples

GUIDE = Path(__file__).parents[3] / "docs" / "training.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)


def test_python_examples_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("qwen3_rag_tiny", reason="the examples use the tiny checkpoints")
    pytest.importorskip("peft", reason="the examples train an adapter")
    from qwen3_rag_testkit.own_servers import VLLMServer
    from qwen3_rag_tiny import embedding_folder

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    with VLLMServer(embedding_folder(), "embedding") as server:
        for example in blocks("python"):
            code = example.replace("http://localhost:8000", server.url)
            exec(compile(code, GUIDE.name, "exec"), names)

    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["2", "dict_keys(['ndcg@10'])"]
    assert len(server.requests) > 2  # besides the probe
    assert names["run"].evaluation.keys() == {"ndcg@10", "ndcg@10/128"}
    assert "TensorAngle" in printed[3]
    assert printed[-1] == "1"  # the note on rivers


def test_example_of_training_data_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("".join(blocks("json")), encoding="utf-8")

    (example,) = read_examples(tmp_path / "data.jsonl")

    assert len(example.negatives) == 2
