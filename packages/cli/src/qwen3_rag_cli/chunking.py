"""Splits a file's text into chunks of a limited number of the model's tokens.

Inside a section, semantic-text-splitter prefers to split between paragraphs, then sentences, then
words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from qwen3_rag.errors import InputError
from qwen3_rag_cli.sections import Place, Section

__all__ = ["CHUNK_TOKENS", "OVERLAP", "Chunk", "Chunking", "chunks"]

#: Defaults: tokens per chunk, and tokens that neighbouring chunks may share.
CHUNK_TOKENS, OVERLAP = 384, 48
SMALLEST, LARGEST = 32, 8_192

# An item of a list inside about twenty others. The Markdown splitter makes a chunk of each item
# that has a long list below it, and looks through the whole of that list each time.
_DEEP_LIST = re.compile(r"^[ \t]{40,}(?:[-*+]|\d+[.)])[ \t]", re.MULTILINE)

#: Increase this when the same text and settings give different chunks than before.
VERSION = 3


@dataclass(frozen=True)
class Chunking:
    """How texts are split.

    Attributes:
        tokens: Maximum tokens of a chunk, including headings and the end token.
        overlap: Maximum tokens that neighbours in one section share.

    Raises:
        InputError: A number is out of range.
    """

    tokens: int = CHUNK_TOKENS
    overlap: int = OVERLAP

    def __post_init__(self) -> None:
        if not SMALLEST <= self.tokens <= LARGEST:
            raise InputError(
                f"`--chunk-tokens` must be from {SMALLEST} to {LARGEST}, got {self.tokens}."
            )
        if not 0 <= self.overlap <= self.tokens // 2:
            raise InputError(
                f"`--overlap` must be from 0 to half of the chunk's {self.tokens} tokens, got "
                f"{self.overlap}."
            )

    @classmethod
    def chosen(
        cls, tokens: int | None, overlap: int | None, recorded: Mapping[str, Any]
    ) -> Chunking:
        """Fill in values that are not given on the command line.

        Args:
            tokens: The value from the command line.
            overlap: The value from the command line.
            recorded: The index's record; empty for a new index.
        """
        if overlap is None:
            # The recorded overlap is only used with the recorded size.
            overlap = OVERLAP if tokens is not None else recorded.get("overlap", OVERLAP)
        if tokens is None:
            tokens = recorded.get("chunk_tokens", CHUNK_TOKENS)
        return cls(tokens, overlap)


@dataclass(frozen=True)
class Chunk:
    """A piece of a file.

    Attributes:
        text: The text to embed, search and rerank: the headings above it, then the piece.
        heading: All its headings, outermost first, separated by ` > `.
        place: Where in the file it is.
    """

    text: str
    heading: str
    place: Place


def chunks(
    sections: Iterable[Section], count: Callable[[str], int], settings: Chunking
) -> Iterator[Chunk]:
    """Split sections; no chunk has text of two.

    Args:
        sections: The file's sections.
        count: Counts the tokens of a text.
        settings: How large chunks may be.
    """
    enough = _counting_enough(count, settings.tokens)
    for part in sections:
        yield from _split(part, enough, settings)


def _counting_enough(count: Callable[[str], int], limit: int) -> Callable[[str], int]:
    """Count the tokens of a text, but of a much too long one only until that is certain.

    The splitter counts the tokens of a whole paragraph, sentence or word again for each chunk of
    it, which would take time by the square of its length.
    """
    # Cutting a text can change its last tokens, so twice the limit is asked for.
    certain = 2 * limit

    def enough(text: str) -> int:
        length = 4 * certain
        while length < len(text):
            found = count(text[:length])
            if found > certain:
                return found
            length *= 4
        return count(text)

    return enough


def _split(part: Section, count: Callable[[str], int], settings: Chunking) -> Iterator[Chunk]:
    if not part.text.strip():
        return
    limit = settings.tokens - 1  # one is the end token
    part, header = _with_header(part, count, settings)
    above = _title(part.parents, count, settings) + header
    heading = " > ".join(part.path)
    if count(above + _trimmed(part.text)[1]) <= limit:
        yield _chunk(above, heading, part, 0, part.text)
        return
    title = _title(part.path, count, settings)
    # The heading is repeated above every piece, unless it is too long for that.
    body = part.body if part.heading and title.rstrip().endswith(part.heading) else 0
    title += header
    is_markdown = part.is_markdown and not _DEEP_LIST.search(part.text)
    splitter_of = MarkdownSplitter if is_markdown else TextSplitter
    # Rows of a table are not half in one chunk and half in another.
    overlap = 0 if part.header else settings.overlap
    splitter = splitter_of.from_callback(
        lambda piece: count(title + piece), limit, count(title) + overlap
    )
    for start, piece in splitter.chunk_indices(part.text[body:]):
        yield _chunk(title, heading, part, body + start, piece)


def _chunk(title: str, heading: str, part: Section, start: int, piece: str) -> Chunk:
    before, piece = _trimmed(piece)
    start += before
    return Chunk(title + piece, heading, part.place(start, start + len(piece)))


def _with_header(
    part: Section, count: Callable[[str], int], settings: Chunking
) -> tuple[Section, str]:
    """Return what to repeat of a table's header; one that is too long is a row like the others."""
    if not part.header:
        return part, ""
    header = f"{part.header}\n"
    if count(header) <= settings.tokens // 4:
        return part, header
    marks = ((0, part.marks[0][1]), *((at + len(header), number) for at, number in part.marks))
    return replace(part, text=header + part.text, header="", marks=marks), ""


def _trimmed(text: str) -> tuple[int, str]:
    """Strip blank lines around a text; return the length of the leading ones too."""
    blank = re.match(r"(?:[^\S\n]*\n)*", text)
    before = blank.end() if blank else 0
    return before, text[before:].rstrip()


def _title(path: tuple[str, ...], count: Callable[[str], int], settings: Chunking) -> str:
    """Join the innermost headings that fit in a quarter of the chunk."""
    for first in range(len(path)):
        title = " > ".join(path[first:]) + "\n\n"
        if count(title) <= settings.tokens // 4:
            return title
    return ""
