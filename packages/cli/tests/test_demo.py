from __future__ import annotations

from typing import Any

import pytest

from qwen3_rag_cli.demo import QUESTIONS, documentation
from qwen3_rag_cli.headings import sections


def test_every_question_has_its_section_in_the_documentation() -> None:
    for _, expected in QUESTIONS:
        name, _, heading = expected.partition(": ")
        page = (documentation() / name).read_text(encoding="utf-8")
        assert heading in [section.heading for section in sections(page)]


def test_demo_shows_every_ranking_side_by_side(cli: Any) -> None:
    said = cli.run("demo", *cli.models, "--json")

    # Random weights: whether a section is found is luck, and the exit code tells which.
    answers = said.json
    assert said.code == int(not all(answer["right"] for answer in answers))
    for answer in answers:
        assert list(answer["rankings"]) == ["dense", "bm25", "fused", "rerank"]
        assert all(len(ranking) == 5 for ranking in answer["rankings"].values())


def test_demo_prints_each_question_and_a_verdict(cli: Any) -> None:
    said = cli.run("demo", *cli.models)

    for question, _ in QUESTIONS:
        assert question in said.out
    assert said.out.count("The right section") == len(QUESTIONS)


def test_demo_finds_the_right_sections_with_tiny(cli: Any) -> None:
    pytest.importorskip("qwen3_rag_tiny", reason="the package qwen3-rag-tiny is not installed")

    said = cli.run("demo", "--json")

    assert said.code == 0, said.out + said.err
    assert all(answer["right"] for answer in said.json)
