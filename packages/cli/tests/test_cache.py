"""`--cache`: nothing is computed twice; `cache info` and `cache clear`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen3_rag.cache import cache_info
from qwen3_rag_cli.console import size

QUERY = "Who decided about the roof?"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vectors.cache"


def test_a_second_index_computes_nothing_and_is_the_same(
    cli: Any, notes: Path, tmp_path: Path, file: Path
) -> None:
    cli.index(notes, "--store", tmp_path / "first", *cli.models, "--cache", file)
    entries = cache_info(file).entries

    cli.index(notes, "--store", tmp_path / "second", *cli.models, "--cache", file)

    assert entries == 5
    assert cache_info(file).entries == 5
    assert cli.content(tmp_path / "first") == cli.content(tmp_path / "second")


def test_another_chunking_computes_only_new_chunks(
    cli: Any, notes: Path, tmp_path: Path, file: Path
) -> None:
    (notes / "long.txt").write_text("word " * 600, encoding="utf-8")
    store = ["--store", str(tmp_path / "index"), "--cache", str(file)]
    first = cli.index(notes, *store, *cli.models, "--chunk-tokens", "256")
    before = cache_info(file).entries

    second = cli.index(notes, *store, "--chunk-tokens", "128")

    new = cache_info(file).entries - before
    assert 0 < new < second["chunks"] - 4  # the five short chunks are the same
    assert first["chunks"] < second["chunks"]


def test_a_search_keeps_the_query_and_the_scores(cli: Any, indexed: Path, file: Path) -> None:
    plain = cli.hits(QUERY, indexed)

    first = cli.hits(QUERY, indexed, "--cache", str(file))
    second = cli.hits(QUERY, indexed, "--cache", str(file))

    assert first == second == plain
    assert cache_info(file).entries == 1 + 5


def test_info_and_clear_in_words_and_as_json(
    cli: Any, notes: Path, tmp_path: Path, file: Path
) -> None:
    cli.index(notes, "--store", tmp_path / "index", *cli.models, "--cache", file)

    words = cli.run("cache", "info", file)
    info = cli.run("cache", "info", file, "--json").json
    assert words.code == 0
    assert "5" in words.out
    assert "kB" in words.out
    assert "least recently used" in words.out
    assert info["entries"] == 5
    assert info["size"] == cache_info(file).size
    assert info["file"] == str(file)

    cleared = cli.run("cache", "clear", file, "--json").json
    assert cleared["removed"] == 5
    assert cleared["freed"] >= 0
    assert cli.run("cache", "info", file, "--json").json["oldest"] is None
    assert "0 entries removed" in cli.run("cache", "clear", file).out
    assert cli.run("cache", "clear", file, "--quiet").out == ""


def test_a_file_that_is_no_cache_is_refused_and_kept(
    cli: Any, notes: Path, tmp_path: Path, indexed: Path
) -> None:
    [other] = indexed.glob("generations/*/manifest.sqlite3")
    before = other.read_bytes()

    for command in (["cache", "info", other], ["cache", "clear", other]):
        said = cli.run(*command)
        assert said.code == 2
        assert "is a database of something else" in said.err
    said = cli.run("index", notes, "--store", tmp_path / "i", *cli.models, "--cache", other)
    assert said.code == 2
    assert other.read_bytes() == before

    missing = cli.run("cache", "info", tmp_path / "nothing")
    assert missing.code == 2
    assert "There is no cache at" in missing.err
    text = tmp_path / "text"
    text.write_text("no database\n" * 500)
    for command in (
        ["cache", "info", text],
        ["cache", "clear", text],
        ["index", notes, "--store", tmp_path / "i", *cli.models, "--cache", text],
    ):
        said = cli.run(*command)
        assert said.code == 2
        assert "is no cache but a file of something else" in said.err
    assert text.read_text() == "no database\n" * 500


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (4_510, "4.51 kB"),
        (99_960, "100 kB"),
        (999_600, "1 MB"),
        (1_234_567_890, "1.23 GB"),
        (12_345_678_900_000, "12.3 TB"),
    ],
)
def test_sizes_are_told_in_words(count: int, words: str) -> None:
    assert size(count) == words
