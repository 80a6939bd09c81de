"""Splits a Markdown text into sections, each with the headings that lead to it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from qwen3_rag_cli.sections import Section

__all__ = ["Heading", "headings_of", "sections"]

# Metadata of site generators. A Markdown parser would take the line above its closing `---` for a
# heading.
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w-]+[ \t]*:)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")

# The anchor in `## Install { #install }` is not part of the heading.
_ANCHOR = re.compile(r"\{[^{}]*#[^{}]*\}$")

# Parsing the inside of paragraphs would take twice the time.
_BLOCKS = MarkdownIt("commonmark").disable("inline")
_INLINE = MarkdownIt("commonmark")


class Heading(NamedTuple):
    """A heading of a Markdown text.

    Attributes:
        first: Its first line, from 0.
        behind: The line after it.
        level: Its level, from 1.
        title: Its words.
    """

    first: int
    behind: int
    level: int
    title: str


def sections(text: str) -> list[Section]:
    """Split a Markdown text at its headings.

    A heading directly followed by a lower one gives no section of its own: it is a parent of the
    next one.
    """
    # Not `splitlines`, which also splits at form feeds and other characters; Markdown does not.
    lines = [line + "\n" for line in text.split("\n")]
    front = _FRONT_MATTER.match(text)
    skipped = front.group().count("\n") if front else 0
    headings = headings_of("".join(lines[skipped:]), skipped)
    starts = sorted({0, skipped, *(first for first, *_ in headings)})
    by_line = {first: (behind, level, title) for first, behind, level, title in headings}
    found: list[Section] = []
    open_: list[tuple[int, str]] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if start not in by_line:
            body, title = start, ""
            parents: tuple[str, ...] = ()
        else:
            body, level, title = by_line[start]
            open_ = [entry for entry in open_ if entry[0] < level]
            parents = tuple(name for _, name in open_ if name)
            open_.append((level, title))
            following = by_line.get(end)
            empty = not "".join(lines[body:end]).strip()
            if empty and following is not None and following[1] > level:
                continue
        content = "".join(lines[start:end])
        if content.strip():
            behind = len("".join(lines[start:body]))
            found.append(Section(parents, title, start + 1, content, behind, is_markdown=True))
    return found


def headings_of(text: str, skipped: int = 0) -> list[Heading]:
    """Find the headings outside quotes and lists.

    Args:
        text: The Markdown text.
        skipped: Number of lines before it, which count too.
    """
    found = []
    tokens: list[Token] = _BLOCKS.parse(text)
    for token, content in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            first, behind = token.map
            title = _plain(content.content)
            found.append(Heading(first + skipped, behind + skipped, int(token.tag[1]), title))
    return found


def _plain(markdown: str) -> str:
    """Return the words of a heading, without markup, link targets, tags and anchors."""
    words = "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for token in _INLINE.parseInline(_ANCHOR.sub("", markdown.rstrip()))
        for child in token.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    )
    return " ".join(words.split())
