"""The stop-gap command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwen3_rag_training.__main__ import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["program", *map(str, arguments)])
    return main()


def test_jobs_run_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checkpoints: dict[str, Path],
    data: Path,
    tmp_path: Path,
) -> None:
    common = ["--data", data, "--steps", 2, "--batch-size", 4, "--learning-rate", "1e-3"]
    for name, role in (("train-embedder", "embedding"), ("train-reranker", "reranking")):
        output = tmp_path / role
        arguments = [name, "--model", checkpoints[role], "--output", output, *common]
        assert call(monkeypatch, *arguments) == 0
        assert str(output) in capsys.readouterr().out

    sources = [checkpoints["embedding"], tmp_path / "embedding"]
    assert call(monkeypatch, "merge", *sources, "--output", tmp_path / "merged") == 0
    assert "largest angle" in capsys.readouterr().out
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["model_type"] == "qwen3"


def test_error_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = call(monkeypatch, "merge", tmp_path, "--output", tmp_path / "out")

    assert status == 1
    assert capsys.readouterr().err == "Merging needs two or more models, got 1.\n"
