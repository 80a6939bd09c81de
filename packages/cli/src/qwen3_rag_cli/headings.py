"""Splits a Markdown text into sections, each with the headings that lead to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Section", "sections"]

# Metadata of site generators. A Markdown parser would take the line above its closing `---` for a
# heading.
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w-]+[ \t]*:)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")

# The anchor in `## Install { #install }` is not part of the heading.
_ANCHOR = re.compile(r"\{[^{}]*#[^{}]*\}$")

# Parsing the inside of paragraphs would take twice the time.
_BLOCKS = MarkdownIt("commonmark").disable("inline")
_INLINE = MarkdownIt("commonmark")


@dataclass(frozen=True)
class Section:
    """A heading and the text below it, up to the next heading of any level.

    Attributes:
        parents: Headings above its own, outermost first.
        heading: Its own heading; empty for text above the first heading.
        line: Its first line, from 1.
        text: Its lines, including the heading.
        body: Offset in `text` where the heading ends.
    """

    parents: tuple[str, ...]
    heading: str
    line: int
    text: str
    body: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        """All headings, including its own."""
        return (*self.parents, self.heading) if self.heading else self.parents


def sections(text: str) -> list[Section]:
    """Split a Markdown text at its headings.

    A heading directly followed by a lower one gives no section of its own: it is a parent of the
    next one.
    """
    # Not `splitlines`, which also splits at form feeds and other characters; Markdown does not.
    lines = [line + "\n" for line in text.split("\n")]
    front = _FRONT_MATTER.match(text)
    skipped = front.group().count("\n") if front else 0
    headings = _headings("".join(lines[skipped:]), skipped)
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
            found.append(Section(parents, title, start + 1, content, behind))
    return found


def _headings(text: str, skipped: int) -> list[tuple[int, int, int, str]]:
    """Return first line, next line, level and title of each heading outside quotes and lists."""
    found = []
    tokens: list[Token] = _BLOCKS.parse(text)
    for token, content in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            first, behind = token.map
            level = int(token.tag[1])
            found.append((first + skipped, behind + skipped, level, _plain(content.content)))
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
