"""Configurations and grids of them, as TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag import InputError
from qwen3_rag_evaluation import Configuration, read_configurations

GRID = """
[[configurations]]
model = "tiny"
dim = [64, 128]
rerank_depth = [10, 20]
reranker = "tiny"

[[configurations]]
name = "terms"
model = "tiny"
retrieval = "bm25"

[[configurations]]
model = "tiny"
weights = { dense = 2, bm25 = 0.5 }
fusion = "rrf"
instruction = "Find the code"
"""


def test_lists_stand_for_each_combination(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID, "utf-8")

    got = read_configurations(tmp_path / "grid.toml")

    assert [one.described for one in got] == [
        "tiny 64, hybrid, reranked 10 by tiny",
        "tiny 64, hybrid, reranked 20 by tiny",
        "tiny 128, hybrid, reranked 10 by tiny",
        "tiny 128, hybrid, reranked 20 by tiny",
        "terms",
        "tiny, hybrid, rrf, dense 2, bm25 0.5, “Find the code”",
    ]
    assert got[4] == Configuration(name="terms", model="tiny", retrieval="bm25")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no configurations"),
        ("[[configurations]]", "Configuration 1 has no `model`"),
        ('[[configurations]]\nmodel = "tiny"\nsize = 3', "Configuration 1 has 'size', but .*dim"),
        (
            '[[configurations]]\nmodel = "tiny"\n' * 2,
            "Two configurations are called 'tiny, hybrid'",
        ),
        ('[[configurations]]\nmodel = "tiny"\ndim = [64, 64]', "Two configurations are called"),
        ('[[configurations]]\nmodel = "tiny"\nretrieval = "all"', "must be one of .*'bm25'"),
        (
            '[[configurations]]\nmodel = "tiny"\nretrieval = "bm25"\nweights = { dense = 2 }',
            "`weights` are for retrieval by both",
        ),
        ('configurations = "tiny"', "must have tables"),
        ('[other]\n[[configurations]]\nmodel = "tiny"', "nothing else, got other"),
        ("configurations = [", "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "grid.toml").write_text(text, "utf-8")

    with pytest.raises(InputError, match=message):
        read_configurations(tmp_path / "grid.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"grid\.toml' cannot be read"):
        read_configurations(tmp_path / "grid.toml")
