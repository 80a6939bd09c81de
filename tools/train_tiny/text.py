"""Markdown documentation to sections: one heading and the text below it.

Reads the folder described in the repository's data notes (`text/<source>.<language>.jsonl.gz`).
Knows nothing of pairs, tokens or models.
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
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।။])\s*|\n+")  # noqa: RUF001  # as written

# Lines of page machinery: components and their properties, include directives, front matter.
_MACHINERY = re.compile(
    r"^(import |---|title:|id:|slug:|ms\.|summary:|:::|!!!|<|\{[%*]|\{label|\]\}|\|[\s:|-]+\|?$)"
    r"|classNames=|notebooks=|chapter=\{|explain:|correct:"
)

# A code block says what a section is about in its first lines; the rest only costs tokens.
_CODE_LINES = 4


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, up to the next heading.

    Attributes:
        source: The documentation it is from, such as `fastapi`.
        language: As in the file's name, such as `zh-CN`.
        page: The page's path without the language: equal for the translations of one page.
        place: Ordinal among the sections of the page.
        places: How many sections the page has.
        title: The page's first heading.
        heading: The section's own heading.
        body: Text with links and markup reduced to what a reader sees.
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
    """Cut a page into heading and body; a page's lead has no heading."""
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
        elif not _MACHINERY.search(line.strip()):
            reduced = _reduce(line)
            if reduced:
                lines.append(reduced)
    yield heading, "\n".join(lines)


def _page(path: str, language: str) -> str:
    return path.replace(f"/{language}/", "/*/", 1)


def read_sections(folder: Path) -> list[Section]:
    """Read all sections of a folder of documentation.

    Args:
        folder: Holds `<source>.<language>.jsonl.gz` files.

    Returns:
        Sections in the order of file names and pages, which does not depend on the machine.

    Raises:
        InputError: The folder holds no such file.
    """
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        raise InputError(f"{str(folder)!r} holds no *.jsonl.gz files. Give the shared data folder.")
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
    """Cut a text at sentence ends and line breaks; pieces of ten characters or less are dropped."""
    return [s.strip() for s in _SENTENCE_END.split(text) if len(s.strip()) > 10]
