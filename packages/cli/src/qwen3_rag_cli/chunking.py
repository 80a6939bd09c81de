"""A file's text to chunks that fit, counted in the model's own tokens.

Knows headings and token counts; knows nothing of files, stores or vectors. Where to cut inside a
section is the splitter's (semantic-text-splitter): paragraphs before sentences before words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from qwen3_rag.errors import InputError
from qwen3_rag_cli.files import Kind
from qwen3_rag_cli.headings import Section, sections

__all__ = ["CHUNK_TOKENS", "OVERLAP", "Chunk", "Chunking", "chunks"]

#: Tokens of a chunk, and those two neighbours may share, when nothing is asked for.
CHUNK_TOKENS, OVERLAP = 384, 48
SMALLEST, LARGEST = 32, 8_192

#: Changes when the same text and settings would give other chunks.
VERSION = 1


@dataclass(frozen=True)
class Chunking:
    """How texts are cut.

    Attributes:
        tokens: What a chunk may take, headings and end token included.
        overlap: Tokens that neighbours of one section may share.
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


@dataclass(frozen=True)
class Chunk:
    """A piece of a file.

    Attributes:
        text: What is embedded, matched and reranked: the headings above, then the piece.
        heading: The headings it stands under, its own included, ` > ` between them.
        line: Its first line in the file, from 1.
        end_line: Its last line.
    """

    text: str
    heading: str
    line: int
    end_line: int


def chunks(
    text: str, kind: Kind, name: str, count: Callable[[str], int], settings: Chunking
) -> Iterator[Chunk]:
    """Cut a text.

    Args:
        text: Of the file.
        kind: Markdown is cut at its headings first.
        name: Of the file; it heads the chunks of text and code, which have no headings.
        count: Gives the number of tokens of a text.
        settings: How large chunks may be.
    """
    parts = sections(text) if kind == "markdown" else [Section((name,), "", 1, text)]
    for part in parts:
        yield from _cut(part, kind, count, settings)


def _cut(
    part: Section, kind: Kind, count: Callable[[str], int], settings: Chunking
) -> Iterator[Chunk]:
    if not part.text.strip():
        return
    room = settings.tokens - 1  # the end token
    above = _title(part.parents, count, settings)
    heading = " > ".join(part.path)
    if count(above + _trimmed(part.text)[1]) <= room:
        yield _chunk(above, heading, part, 0, part.text)
        return
    title = _title(part.path, count, settings)
    # The heading goes into the title of every piece. One too long for that stays in the text.
    body = part.body if part.heading and title.rstrip().endswith(part.heading) else 0
    splitter_of = MarkdownSplitter if kind == "markdown" else TextSplitter
    splitter = splitter_of.from_callback(
        lambda piece: count(title + piece), room, count(title) + settings.overlap
    )
    for start, piece in splitter.chunk_indices(part.text[body:]):
        yield _chunk(title, heading, part, body + start, piece)


def _chunk(title: str, heading: str, part: Section, start: int, piece: str) -> Chunk:
    before, piece = _trimmed(piece)
    line = part.line + part.text.count("\n", 0, start + before)
    return Chunk(title + piece, heading, line, line + piece.count("\n"))


def _trimmed(text: str) -> tuple[int, str]:
    """A text without blank lines around it, and how much was before; code keeps its indent."""
    blank = re.match(r"(?:[^\S\n]*\n)*", text)
    before = blank.end() if blank else 0
    return before, text[before:].rstrip()


def _title(path: tuple[str, ...], count: Callable[[str], int], settings: Chunking) -> str:
    """Headings as one paragraph, at most a quarter of the chunk: the innermost ones that fit."""
    for first in range(len(path)):
        title = " > ".join(path[first:]) + "\n\n"
        if count(title) <= settings.tokens // 4:
            return title
    return ""
