"""Collections, runs and judgements as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import InputError
from qwen3_rag_evaluation import (
    Collection,
    read_collection,
    read_qrels,
    read_run,
    write_qrels,
    write_run,
)

DOCUMENTS = [
    {"_id": "d1", "title": "France", "text": "Its capital is Paris."},
    {"_id": "d2", "text": "Brot wird gebacken."},
]
QUERIES = [{"_id": "q1", "text": "capital of France?"}, {"_id": "q2", "text": "unanswered"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS)), "utf-8")
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, QUERIES)) + "\n\n", "utf-8")
    (tmp_path / "qrels.tsv").write_text(QRELS, "utf-8")
    return tmp_path


def test_a_folder_in_beirs_format_is_read(folder: Path) -> None:
    got = read_collection(folder)

    assert got.name == folder.name
    assert got.documents == {"d1": "France\nIts capital is Paris.", "d2": "Brot wird gebacken."}
    assert got.queries == {"q1": "capital of France?"}  # the other one has no answer
    assert got.qrels["q1"] == {"d1": 2.0, "d2": 0.0}


def test_the_split_that_is_asked_for_is_read(folder: Path) -> None:
    (folder / "qrels.tsv").unlink()
    (folder / "qrels").mkdir()
    (folder / "qrels" / "dev.tsv").write_text(QRELS.replace("d1\t2", "d1\t1"), "utf-8")
    (folder / "qrels" / "train.tsv").write_text(QRELS, "utf-8")

    assert read_collection(folder).qrels["q1"]["d1"] == 1.0
    assert read_collection(folder, split="train").qrels["q1"]["d1"] == 2.0
    with pytest.raises(InputError, match=r"no judgements qrels/test.tsv. There are: dev, train"):
        read_collection(folder, split="test")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id"', "Line 2 of .*corpus.jsonl' is no J"),
        ("corpus.jsonl", '{"_id": 1, "text": "a"}', "Line 1 of .* must be an object such as"),
        ("corpus.jsonl", '["a"]', "Line 1 of .* must be an object such as"),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n' * 2, "Line 2 of .* has the id 'd1' again"),
        ("corpus.jsonl", '{"_id": "d2", "text": "a"}', "relevant document 'd1', which is not in"),
        ("corpus.jsonl", "", "has no documents"),
        ("qrels.tsv", "q1\td1\tgood", "Line 1 of .*qrels.tsv' has 'good' where a number"),
        ("qrels.tsv", "q1\td1\tnan", "has 'nan' where a number"),
        ("qrels.tsv", "q1 d1", "Line 1 of .* must have 3 columns"),
        ("qrels.tsv", "q1\td1\t1\nq1\td1\t2", "Line 2 of .* judges 'd1' for 'q1' again"),
        ("qrels.tsv", "q9\td1\t1", "has no queries"),
    ],
)
def test_a_damaged_file_is_named_with_the_line(
    folder: Path, file: str, content: str, message: str
) -> None:
    (folder / file).write_text(content, "utf-8")

    with pytest.raises(InputError, match=message):
        read_collection(folder)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()

    with pytest.raises(InputError, match=f"{Path(file).stem}"):
        read_collection(folder)


def test_a_query_without_an_answer_is_an_error() -> None:
    with pytest.raises(InputError, match="'q' of 'mine' has no relevant document"):
        Collection("mine", {"d": "text"}, {"q": "text"}, {"q": {"d": 0}})


def test_runs_and_qrels_are_read_by_others_and_again(tmp_path: Path) -> None:
    run = {"q1": ["b", "a", "c"], "q2": ["ü"]}
    qrels: dict[str, Any] = {"q1": {"a": 1, "b": 0}, "q2": {"ü": 3}}
    write_run(run, tmp_path / "run.txt")
    write_qrels(qrels, tmp_path / "qrels.txt")

    assert read_run(tmp_path / "run.txt") == run
    assert read_qrels(tmp_path / "qrels.txt") == qrels
    ir_measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    found = ir_measures.calc_aggregate(
        [ir_measures.RR],
        ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt")),
        ir_measures.read_trec_run(str(tmp_path / "run.txt")),
    )
    assert found[ir_measures.RR] == pytest.approx((1 / 2 + 1) / 2)


def test_what_the_format_cannot_hold_is_an_error(tmp_path: Path) -> None:
    for run in ({"q 1": ["a"]}, {"q": ["a b"]}, {"": ["a"]}, {"q": [""]}):
        with pytest.raises(InputError, match="cannot be written in TREC's format"):
            write_run(run, tmp_path / "run.txt")
    with pytest.raises(InputError, match="must be a whole number"):
        write_qrels({"q": {"a": 0.5}}, tmp_path / "qrels.txt")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 0.5", "must have 6 columns, got 5"),
        ("q Q0 d 1 high me", "has 'high' where a number"),
        ("q Q0 d 1 1 me\nq Q0 d 2 0 me", "Line 2 of .* has the document 'd' of 'q' again"),
    ],
)
def test_a_damaged_run_is_named_with_the_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "run.txt").write_text(line, "utf-8")

    with pytest.raises(InputError, match=message):
        read_run(tmp_path / "run.txt")
