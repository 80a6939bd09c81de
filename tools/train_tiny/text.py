"""Markdown documentation split into sections of a heading and its text.

The input is a folder of files `<source>.<language>.jsonl.gz`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qwen3_rag.errors import InputError

__all__ = ["Section", "read_sections", "sentences"]

_HEADING = re.compile(r"^(#{1,5})\s+(.+?)\s*$")
_FENCE = re.compile(r"^\s*(```|~~~|////)")
_ANCHOR = re.compile(r"\s*(\{\s*#[^}]*\}|\[\[[^\]]*\]\]|<a name=[^>]*></a>)\s*")
_MARKUP = re.compile(r"<[^<>]{0,400}>|!\[[^\]]*\]\([^)]*\)|\{%[^%]*%\}|\{\{[^}]*\}\}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)(\{[^}]*\})?")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।။])\s*|\n+")  # noqa: RUF001  # marks of several scripts

# Markup lines: components and their properties, include directives, front matter.
_MARKUP_LINE = re.compile(
    r"^(import |---|title:|id:|slug:|ms\.|summary:|:::|!!!|<|\{[%*]|\{label|\]\}|\|[\s:|-]+\|?$)"
    r"|classNames=|notebooks=|chapter=\{|explain:|correct:"
)

# The first lines of a code block are enough to show its topic.
_CODE_LINES = 4


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the text below it, up to the next heading.

    Attributes:
        source: The documentation it is from, such as `fastapi`.
        language: Language as in the file's name, such as `zh-CN`.
        page: Path of the page without the language; the same for all translations of a page.
        place: Index of the section in the page.
        places: Number of sections in the page.
        title: The first heading of the page.
        heading: The section's heading.
        body: The text without markup.
    """

    source: str
    language: str
    page: str
    place: int
    places: int
    title: str
    heading: str
    body: str


def _reduce(line: str) -> str:
    line = _LINK.sub(r"\1", _MARKUP.sub(" ", line))
    return line.replace("**", "").replace("`", "").strip()


def _split(text: str) -> Iterator[tuple[str, str]]:
    """Split a page into headings and bodies; text before the first heading has none."""
    heading = ""
    lines: list[str] = []
    fence, in_fence = 0, False
    for line in text.splitlines():
        if _FENCE.match(line):
            in_fence, fence = not in_fence, 0
            continue
        found = None if in_fence else _HEADING.match(line)
        if found:
            yield heading, "\n".join(lines)
            heading, lines = _reduce(_ANCHOR.sub(" ", found[2])), []
        elif in_fence:
            fence += 1
            if fence <= _CODE_LINES and line.strip():
                lines.append(line.strip())
        elif not _MARKUP_LINE.search(line.strip()):
            reduced = _reduce(line)
            if reduced:
                lines.append(reduced)
    yield heading, "\n".join(lines)


def _page(path: str, language: str) -> str:
    return path.replace(f"/{language}/", "/*/", 1)


def read_sections(folder: Path) -> list[Section]:
    """Read all sections of a folder of documentation.

    Args:
        folder: Folder of `<source>.<language>.jsonl.gz` files.

    Returns:
        The sections, in the order of file names and pages.

    Raises:
        InputError: The folder contains no such file.
    """
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        raise InputError(f"{str(folder)!r} holds no *.jsonl.gz files. Give the data folder.")
    sections: list[Section] = []
    for file in files:
        source, language = file.name.removesuffix(".jsonl.gz").split(".", 1)
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            for line in stream:
                page = json.loads(line)
                parts = list(_split(page["text"]))
                title = next((heading for heading, _ in parts if heading), "")
                sections.extend(
                    Section(
                        source,
                        language,
                        _page(page["path"], language),
                        place,
                        len(parts),
                        title,
                        heading,
                        body,
                    )
                    for place, (heading, body) in enumerate(parts)
                )
    return sections


def sentences(text: str) -> list[str]:
    """Split a text into sentences and lines; drop those of ten characters or less."""
    return [s.strip() for s in _SENTENCE_END.split(text) if len(s.strip()) > 10]
