"""`eval run`: configurations are compared on a collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qwen3_rag_evaluation", reason="qwen3-rag-evaluation is not installed")
pytest.importorskip("qwen3_rag_tiny", reason="the models are the tiny ones")

from qwen3_rag_evaluation import evaluate, read_collection, read_run

TEXTS = {
    "paris": "Paris is the capital of France.",
    "berlin": "Berlin is the capital of Germany.",
    "bread": "Bread is baked from flour, water and yeast.",
    "disk": "The disk is full: delete files, or add space.",
    "river": "The Rhine flows through Basel and Cologne.",
    "index": "An index is a data structure that speeds up searches.",
}
ANSWERS = {
    "capital of France": "paris",
    "capital of Germany": "berlin",
    "baked from flour and yeast": "bread",
    "no space on the disk": "disk",
    "flows through Cologne": "river",
}
GRID = """
[[configurations]]
name = "by words"
model = "tiny"
retrieval = "bm25"

[[configurations]]
name = "backwards"
model = "tiny"
retrieval = "dense"
instruction = "Find a text about something else: bread, if it is about rivers"
dim = 32
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def write(name: str, rows: list[dict[str, str]]) -> None:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    write("corpus.jsonl", [{"_id": id_, "text": text} for id_, text in TEXTS.items()])
    write("queries.jsonl", [{"_id": f"q{n}", "text": text} for n, text in enumerate(ANSWERS)])
    lines = [f"q{n}\t{answer}\t1" for n, answer in enumerate(ANSWERS.values())]
    (tmp_path / "qrels.tsv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "grid.toml").write_text(GRID, encoding="utf-8")
    return tmp_path


def test_configurations_are_ranked_with_intervals_costs_and_differences(
    cli: Any, folder: Path
) -> None:
    arguments = [
        *("eval", "run", folder, "--grid", folder / "grid.toml", "--runs", folder / "runs"),
        *("--metric", "mrr@5", "--metric", "success@1", "--cache", folder / "cache.sqlite"),
    ]

    told = cli.run(*arguments)
    found = cli.run(*arguments, "--json")

    assert (told.code, found.code) == (0, 0), told.err + found.err
    assert (found.json["documents"], found.json["queries"]) == (6, 5)
    best, other = found.json["results"]
    assert (best["name"], best["metrics"]["mrr@5"]["mean"]) == ("by words", 1.0)
    assert other["difference"]["difference"]["mean"] < 0
    assert 0 < other["p_value"] <= 1
    assert other["cost"]["index_bytes"] == 6 * 32 * 4
    lines = told.out.splitlines()
    assert lines[0].endswith(": 6 documents, 5 queries.")
    assert "mrr@5" in lines[1]
    assert "by words  (best)" in lines[2]
    assert "backwards  (-" in lines[3]
    run = read_run(folder / "runs" / "01.run")
    scores = evaluate(run, read_collection(folder).qrels, ["mrr@5"])
    assert scores.interval("mrr@5").mean == best["metrics"]["mrr@5"]["mean"]


def test_what_is_wrong_is_said_before_anything_is_computed(cli: Any, folder: Path) -> None:
    for arguments, message in (
        ([folder / "nowhere", "--grid", folder / "grid.toml"], "has no judgements"),
        ([folder, "--grid", folder / "no.toml"], "no.toml' cannot be read"),
        ([folder, "--grid", folder / "grid.toml", "--metric", "best"], "'best' is no metric"),
        ([folder, "--grid", folder / "grid.toml", "--split", "dev"], "no judgements qrels/dev.tsv"),
    ):
        refused = cli.run("eval", "run", *arguments)

        assert refused.code == 2
        assert message in refused.err.replace("\n", " ")
