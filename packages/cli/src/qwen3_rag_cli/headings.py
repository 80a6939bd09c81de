"""A Markdown text to its sections, each under the headings that lead to it.

Knows Markdown; knows nothing of tokens or of how large a chunk may be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Section", "sections"]

# Metadata that site generators put on top. To a Markdown parser its closing line would make a
# heading of the line above.
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?=[\w-]+[ \t]*:)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")

# `## Install { #install }`: an anchor for links, not words of the heading.
_ANCHOR = re.compile(r"\s*\{[^{}]*#[^{}]*\}\s*$")

# Blocks are all that is needed; the inside of each paragraph would double the time.
_BLOCKS = MarkdownIt("commonmark").disable("inline")
_INLINE = MarkdownIt("commonmark")


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, up to the next heading of any level.

    Attributes:
        parents: Headings that lead here, outermost first, without its own.
        heading: Its own; empty for text above the first heading.
        line: Its first line, from 1.
        text: Its lines, the heading's included.
        body: Where in `text` the heading ends.
    """

    parents: tuple[str, ...]
    heading: str
    line: int
    text: str
    body: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        """All headings, its own included."""
        return (*self.parents, self.heading) if self.heading else self.parents


def sections(text: str) -> list[Section]:
    """Cut a Markdown text at its headings.

    A heading with nothing but further headings below it is no section of its own: it is among the
    parents of the next.
    """
    # Not `splitlines`: it counts form feeds and the like as ends of lines, Markdown does not.
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
    """First line, line behind, level and title of each heading outside quotes and lists."""
    found = []
    tokens: list[Token] = _BLOCKS.parse(text)
    for token, content in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            first, behind = token.map
            level = int(token.tag[1])
            found.append((first + skipped, behind + skipped, level, _plain(content.content)))
    return found


def _plain(markdown: str) -> str:
    """The words of a heading, without marks, links' targets, tags or anchors."""
    words = "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for token in _INLINE.parseInline(_ANCHOR.sub("", markdown))
        for child in token.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    )
    return " ".join(words.split())
