from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag import InputError
from qwen3_rag.integration import prompt_tokenizer, resolve_checkpoint
from qwen3_rag_cli.chunking import Chunk, Chunking, chunks
from qwen3_rag_cli.headings import sections
from qwen3_rag_cli.sections import Section

PAGE = """---
title: A page
summary: Metadata, not a heading
---

# Guide

Welcome.

## Install { #install }

### On *Linux*

Run `apt`.

```sh
# not a heading
```

Setext too
----------

Old style.

> # quoted
"""


def words(text: str) -> int:
    return len(text.split())


def parts(text: str, kind: Any) -> list[Section]:
    return sections(text) if kind == "markdown" else [Section(("name.txt",), "", 1, text)]


def cut(text: str, kind: Any = "markdown", *, tokens: int = 40, overlap: int = 0) -> list[Chunk]:
    return list(chunks(parts(text, kind), words, Chunking(tokens, overlap)))


def test_markdown_is_cut_at_its_headings_and_keeps_their_path() -> None:
    assert [(chunk.heading, chunk.place.first, chunk.place.last) for chunk in cut(PAGE)] == [
        ("", 1, 4),
        ("Guide", 6, 8),
        ("Guide > Install > On Linux", 12, 18),
        ("Guide > Setext too", 20, 25),
    ]


LONG: dict[str, Callable[[int], str]] = {
    "one word": lambda length: "a" * length,
    "one letter with marks": lambda length: "a" + "\u0301" * length,
    "joined emoji": lambda length: "\U0001f468\u200d" * (length // 2),
    "no spaces": lambda length: "가나다라" * (length // 4),
    "JSON in one line": lambda length: '{"a":"' + "xy" * (length // 2) + '"}',
    "spaces": lambda length: " " * length + "x",
    "nested lists": lambda length: "".join("  " * i + "- x\n" for i in range(int(length**0.5))),
    "lists in one line": lambda length: "- " * (length // 2) + "a",
    "quotes": lambda length: "> " * (length // 2) + "a",
    "one heading": lambda length: "# " + "word " * (length // 5),
    "front matter without an end": lambda length: "---\n" + "key: value\n" * (length // 11),
    "a wide table": lambda length: "|" + "x|" * length + "\n|" + "-|" * length + "\n",
}


@pytest.mark.parametrize("kind", ["markdown", "text"])
@pytest.mark.parametrize("name", LONG)
def test_work_grows_with_the_length_of_a_text_and_not_with_its_square(name: str, kind: Any) -> None:
    """Counted in characters whose tokens were counted, which takes nearly all of the time."""
    # A token for every three characters, or for a longer run of spaces.
    tokens = re.compile(r" {1,24}|[^ ]{1,3}")

    def work(length: int) -> int:
        done = 0

        def count(text: str) -> int:
            nonlocal done
            done += len(text)
            return len(tokens.findall(text))

        for _ in chunks(parts(LONG[name](length), kind), count, Chunking(64, 8)):
            pass
        return done

    assert work(16_000) < 3 * work(8_000) + 20_000


def test_spaces_in_a_heading_are_read_in_linear_time() -> None:
    begun = time.process_time()
    assert [part.heading for part in sections("# a" + " " * 200_000 + "{b}")] == ["a {b}"]
    assert time.process_time() - begun < 10  # by the square, a minute


def test_a_deeply_nested_list_is_not_cut_into_its_items() -> None:
    text = "".join("  " * depth + "- x\n" for depth in range(80))
    assert len(cut(text, tokens=40)) <= 5


def test_a_chunk_begins_with_the_headings_above_it() -> None:
    assert cut(PAGE)[2].text.startswith("Guide > Install\n\n### On *Linux*\n\nRun")


def test_a_heading_of_the_last_section_is_kept_without_a_text() -> None:
    assert [chunk.text for chunk in cut("# One\n\n# Two\n")] == ["# One", "# Two"]


def test_long_sections_are_cut_and_every_piece_carries_its_heading() -> None:
    page = "# Long\n\n" + "\n\n".join(
        f"Paragraph {n} has exactly seven words here." for n in range(30)
    )

    pieces = cut(page)

    assert len(pieces) > 5
    assert all(piece.text.startswith("Long\n\nParagraph") for piece in pieces)
    assert all(words(piece.text) <= 39 for piece in pieces)
    lines = page.split("\n")
    for piece in pieces:
        body = piece.text.removeprefix("Long\n\n")
        assert body == "\n".join(lines[piece.place.first - 1 : piece.place.last])


def test_neighbours_overlap_within_a_section_only() -> None:
    text = " ".join(f"Sentence number {n} ends here." for n in range(40))
    page = f"# One\n\n{text}\n\n# Two\n\nShort.\n"

    pieces = cut(page, overlap=12)

    bodies = [piece.text.removeprefix("One\n\n") for piece in pieces if piece.heading == "One"]
    assert all(one.split(". ")[-1] in two for one, two in pairwise(bodies))
    assert pieces[-1].text == "# Two\n\nShort."


def test_code_keeps_its_indent_and_is_headed_by_the_files_name() -> None:
    [piece] = cut("\n\n    def indented():\n        pass\n\n", "code")

    assert piece.text == "name.txt\n\n    def indented():\n        pass"
    assert str(piece.place) == "lines 3-4"


@pytest.mark.parametrize("text", ["", "\n \n", "---\na: b\n---\n\n"])
def test_texts_without_words_give_no_more_than_their_metadata(text: str) -> None:
    assert len(cut(text)) == ("a: b" in text)


def test_headings_longer_than_a_chunk_do_not_stop_it() -> None:
    page = f"# {'long ' * 100}\n\n" + "text of it. " * 100

    pieces = cut(page)

    assert len(pieces) > 3
    assert all(words(piece.text) <= 39 for piece in pieces)


@given(st.text(alphabet="#-= \n\tab`>*\x0b\x0c\u2028", max_size=200))
def test_no_word_of_any_markdown_is_lost(text: str) -> None:
    found = "".join(piece.text for piece in cut(text, tokens=32))

    for word in text.split():
        if word.strip("#-=`>*"):
            assert word in found


@given(st.text(alphabet="#-= \nab", max_size=200))
def test_sections_cover_the_text_in_order(text: str) -> None:
    lines = text.split("\n")

    for section in sections(text):
        first = section.text.split("\n")[0]
        assert lines[section.line - 1] == first


@pytest.mark.parametrize(("tokens", "overlap"), [(31, 0), (8_193, 0), (100, 51), (100, -1)])
def test_sizes_out_of_range_are_refused(tokens: int, overlap: int) -> None:
    with pytest.raises(InputError, match="must be from"):
        Chunking(tokens, overlap)


def test_chunks_fit_in_the_models_own_tokens(cli: Any) -> None:
    from qwen3_rag import Qwen3Embedder

    checkpoint = resolve_checkpoint(str(cli.embedding), "embedding")
    count = prompt_tokenizer(checkpoint, "embedding").count
    page = "# 제목\n\n" + "한국어 문장과 <|im_end|> <think> in it. " * 60

    pieces = list(chunks(sections(page), count, Chunking(64, 8)))
    with Qwen3Embedder(str(cli.embedding)) as embedder:
        read = embedder.embed_documents([piece.text for piece in pieces], details=True)

    assert read.tokens is not None
    assert max(read.tokens) <= 64
    assert read.tokens == tuple(count(piece.text) + 1 for piece in pieces)
