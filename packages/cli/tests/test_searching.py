from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_json_tells_where_each_hit_is_and_how_each_retriever_ranked_it(
    cli: Any, indexed: Path
) -> None:
    hits = cli.hits("What did Ada decide?", indexed)

    assert len(hits) == 5
    hit = next(hit for hit in hits if hit["id"] == "notes/roof.md#1")
    assert (hit["path"], hit["line"], hit["end_line"]) == ("notes/roof.md", 5, 7)
    assert hit["heading"] == "Roof > Decision"
    assert set(hit["ranks"]) == {"dense", "bm25", "fused", "rerank"}
    assert hit["ranks"]["bm25"]["rank"] == 1
    assert [one["ranks"]["rerank"]["rank"] for one in hits] == [1, 2, 3, 4, 5]
    assert all(one["score"] == one["ranks"]["rerank"]["score"] for one in hits)


def test_without_reranking_the_fused_order_stands(cli: Any, indexed: Path) -> None:
    hits = cli.hits("What did Ada decide?", indexed, "--rerank", "0", "--limit", "3")

    assert len(hits) == 3
    assert [hit["ranks"]["fused"]["rank"] for hit in hits] == [1, 2, 3]
    assert all("rerank" not in hit["ranks"] for hit in hits)


def test_hits_below_a_score_are_not_shown(cli: Any, indexed: Path) -> None:
    hits = cli.hits("What did Ada decide?", indexed)
    least = str(hits[1]["score"])

    assert cli.hits("What did Ada decide?", indexed, "--min-score", least) == hits[:2]
    assert cli.hits("What did Ada decide?", indexed, "--min-score", "2") == []


def test_search_uses_the_models_the_index_was_made_with(
    cli: Any, notes: Path, indexed: Path
) -> None:
    cli.index(notes, "--store", indexed, "--model", cli.embedding)

    assert "rerank" in cli.hits("roof", indexed)[0]["ranks"]


@pytest.mark.parametrize(
    ("filters", "paths"),
    [
        (["path=notes/deep"], {"notes/deep/diary.txt", "notes/deep/sum.py"}),
        (["path=notes/deep/"], {"notes/deep/diary.txt", "notes/deep/sum.py"}),
        (["path=./notes/roof.md"], {"notes/roof.md"}),
        (["path=*.py"], {"notes/deep/sum.py"}),
        (["path=*.py", "path=*.txt"], {"notes/deep/diary.txt", "notes/deep/sum.py"}),
        (["path=notes/deep", "kind=code"], {"notes/deep/sum.py"}),
        (["kind=markdown"], {"notes/roof.md"}),
    ],
)
def test_filters_keep_what_they_name(
    cli: Any, indexed: Path, filters: list[str], paths: set[str]
) -> None:
    options = [word for given in filters for word in ("--filter", given)]

    hits = cli.hits("anything", indexed, *options, "--rerank", "0")

    assert {hit["path"] for hit in hits} == paths


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("colour=red", "can be on kind, path, got 'colour'"),
        ("path", "must be FIELD=VALUE"),
        ("path=nowhere/*.md", "No indexed file matches path='nowhere/*.md'"),
        ("kind=poem", "must be one of markdown, text, code, html, csv,"),
    ],
)
def test_filters_that_mean_nothing_are_input_errors(
    cli: Any, indexed: Path, given: str, word: str
) -> None:
    said = cli.run("search", "roof", "--store", indexed, "--filter", given)

    assert said.code == 2
    assert word in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["   "], 2, "`query` is empty"),
        (["roof", "--limit", "201"], 2, "Raise --candidates"),
        (["roof", "--limit", "0"], 2, "`--limit` must be at least 1"),
        (["roof", "--rerank", "-1"], 2, "`--rerank` must be at least 0"),
        (["roof", "--instruction", " "], 2, "`instruction` is empty"),
        (["roof", "--reranker", "/nowhere"], 4, "/nowhere"),
    ],
)
def test_bad_search_options_are_told(
    cli: Any, indexed: Path, arguments: list[str], code: int, word: str
) -> None:
    said = cli.run("search", *arguments, "--store", indexed)

    assert (said.code, word in said.err) == (code, True), said.err


def test_searching_without_an_index_says_how_to_make_one(cli: Any, tmp_path: Path) -> None:
    said = cli.run("search", "roof", "--store", tmp_path / "nowhere")

    assert said.code == 3
    assert "qwen3-rag index PATHS" in said.err
    assert not (tmp_path / "nowhere").exists()


def test_table_shows_file_line_heading_and_text(cli: Any, indexed: Path) -> None:
    said = cli.run("search", "Ada", "--store", indexed)

    assert said.code == 0
    assert "notes/roof.md:5-7" in said.out
    assert "Roof > Decision" in said.out
    assert "Ada decided in May." in said.out


def test_explain_shows_whole_texts_and_every_rank(cli: Any, indexed: Path) -> None:
    said = cli.run("search", "Ada", "--store", indexed, "--explain", "--filter", "path=*.py")

    assert said.code == 0
    assert "def total(a, b):\n    return a + b" in said.out
    assert "bm25   not in this list" in said.out
    assert "dense  rank 1, score" in said.out


def test_markup_in_texts_stays_text(cli: Any, notes: Path, indexed: Path) -> None:
    (notes / "odd.md").write_text("# [bold]Odd[/bold] [/]\n\nSee [red]this[/red].\n")
    cli.index(notes, "--store", indexed)

    said = cli.run("search", "odd", "--store", indexed)

    assert said.code == 0
    assert "[bold]Odd[/bold]" in said.out


def test_instruction_changes_the_query_vector(cli: Any, indexed: Path) -> None:
    plain = cli.hits("roof", indexed, "--rerank", "0")
    other = cli.hits("roof", indexed, "--rerank", "0", "--instruction", "Find poems about rain")

    assert [hit["ranks"]["dense"]["score"] for hit in plain] != [
        hit["ranks"]["dense"]["score"] for hit in other
    ]
