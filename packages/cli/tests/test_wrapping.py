from __future__ import annotations

import random
from itertools import pairwise

import pytest

from qwen3_rag_cli.wrapping import Wrapping, wrapped

TEXT = (
    "Inserted data is stored in persistent storage as an incremental log: MinIO, AWS S3 or\n\n"
    "  another  object storage, such as /srv/very/long/path/that/is/longer/than/a/line.md [1]."
)


@pytest.mark.parametrize("width", [1, 8, 20, 40, 79, 500])
def test_lines_are_broken_between_words_alone(width: int) -> None:
    lines = wrapped(TEXT, width).split("\n")

    assert " ".join(lines).split() == TEXT.split()
    assert all(len(line) <= width or " " not in line.strip() for line in lines)
    # The first word of the next line fits on none of them.
    kept = TEXT.split("\n")
    for line, after in pairwise(lines):
        if line and after and not any(one.startswith(after) for one in kept):
            assert len(line) + 1 + len(after.split()[0]) > width


def test_a_text_in_parts_is_wrapped_like_the_whole_text() -> None:
    places = random.Random(1)
    for _ in range(50):
        wrapping, shown, rest = Wrapping(30), "", TEXT
        while rest:
            size = places.randint(1, 9)
            shown += wrapping.add(rest[:size])
            rest = rest[size:]
        assert shown + wrapping.end() == wrapped(TEXT, 30)


def test_scripts_without_spaces_are_shown_at_once_and_fill_their_lines() -> None:
    wrapping = Wrapping(10)

    assert wrapping.add("数据存储在哪里") == "数据存储在\n哪里"
