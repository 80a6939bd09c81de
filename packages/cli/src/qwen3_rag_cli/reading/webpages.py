"""Reads HTML: headings, paragraphs and tables, without scripts, styles and navigation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

from lxml import etree

from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.tables import table
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Block, Section, joined

__all__ = ["html_blocks", "html_title", "parse_html", "read_html"]

# The parser counts no further.
LINES = 65_535

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCK_NAMES = """
address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption
figure footer form header hr legend li main ol optgroup option p pre section summary table tbody
tfoot thead ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_SKIPPED_NAMES = """
audio button canvas embed iframe nav noscript object script select style svg template title video
"""
_SKIPPED = frozenset(_SKIPPED_NAMES.split())
_SPACE = re.compile(r"[ \t\n\r\f]+")
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z][A-Za-z0-9]{1,30};")
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def read_html(source: Source) -> Iterator[Section]:
    """Read a web page; the lines are those of the file."""
    markup = source.text()
    root = parse_html(markup)
    title = html_title(root)
    blocks = list(html_blocks(root))
    if not blocks:
        raise Unusable("has no text besides scripts, styles and navigation")
    unit = "line"
    if markup.count("\n") >= LINES:
        unit = "paragraph"
        blocks = [replace(block, number=number) for number, block in enumerate(blocks, 1)]
    # Often the first heading repeats the title.
    is_repeated = any(block.level and block.text == title for block in blocks)
    root_path = () if is_repeated else (title or source.name,)
    yield from joined(blocks, root_path, unit)


def parse_html(markup: str) -> etree._Element:
    """Parse HTML or XHTML as it is, and load nothing that it refers to.

    Raises:
        Unusable: The rest of it is in an element that has no end, or its elements are too deep in
            each other.
    """
    root = _parse_xhtml(markup)
    if root is not None:
        return root
    lowered = markup.lower()
    for begin, end in (("<!--", "-->"), ("<script", "</script"), ("<style", "</style")):
        at = lowered.rfind(begin)
        # What looks like a comment in a script is none.
        if at > max(lowered.rfind(end), lowered.rfind("</script")):
            line = markup.count("\n", 0, at) + 1
            raise Unusable(f"is cut off or damaged: `{begin}` in line {line} has no `{end}`")
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True, huge_tree=True
    )
    try:
        root = etree.fromstring(markup.encode(), parser)
    except etree.LxmlError as error:
        raise Unusable(f"is no HTML that can be read: {error}") from None
    if any(entry.level == etree.ErrorLevels.FATAL for entry in parser.error_log):
        raise Unusable(f"is no HTML that can be read: {parser.error_log[-1].message}")
    if root is None:
        raise Unusable("has no text")
    return root


def _parse_xhtml(markup: str) -> etree._Element | None:
    """Parse what says that it is XML and is, for in HTML `<script/>` is no end of a script."""
    if not markup.lstrip("\ufeff \n\t").startswith("<?xml"):
        return None
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    )
    # XML itself knows five; the others are HTML's, and its DTD is not loaded.
    known = _ENTITY.sub(lambda found: unescape(found[0]), markup)
    try:
        return etree.fromstring(known.encode(), parser)
    except etree.LxmlError:
        return None


def html_title(root: etree._Element) -> str:
    """Return the words of a page's title; empty if it has none."""
    found = root.find(".//{*}title")
    return "" if found is None else _SPACE.sub(" ", "".join(found.itertext())).strip(" ")


def html_blocks(root: etree._Element) -> Iterator[Block]:
    """Give the headings, paragraphs and rows of a page, numbered by line."""
    walk = etree.iterwalk(root, events=("start", "end"))
    reader = _Reader()
    for event, element in walk:
        if event == "start":
            if _is_skipped(element):
                walk.skip_subtree()
                continue
            yield from reader.start(element)
        else:
            if not _is_skipped(element):
                yield from reader.end(element)
            reader.add(element.tail, element.sourceline)
    yield from reader.finished()


class _Reader:
    """Gathers text until a block is complete."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._line = 0
        self._level = 0
        self._verbatim = 0
        # The table's rows so far, and the cells of the row that is open.
        self._rows: list[tuple[int, list[str]]] = []
        self._cells: list[str] | None = None
        self._row_line = 0

    def start(self, element: etree._Element) -> Iterator[Block]:
        tag = _name(element)
        if tag in _HEADINGS or tag == "table":
            # A row with a heading or another table in it is there for the layout.
            yield from self._table()
            yield from self.flushed()
            self._level = _HEADINGS.get(tag, 0)
        elif tag == "tr":
            yield from self.flushed()
            self._cells, self._row_line = [], element.sourceline
        elif tag in _BLOCKS:
            yield from self._between()
        elif tag == "br":
            self._parts.append("\n")
        elif tag == "img":
            self.add(element.get("alt"), element.sourceline)
        self._verbatim += tag == "pre"
        self.add(element.text, element.sourceline)

    def end(self, element: etree._Element) -> Iterator[Block]:
        tag = _name(element)
        if tag in _HEADINGS:
            yield from self.flushed()
            self._level = 0
        elif tag in ("td", "th"):
            if self._cells is None:
                yield from self.flushed()
            else:
                self._cells.append(self._text())
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            yield from self._table()
        elif tag in _BLOCKS:
            yield from self._between()
        self._verbatim -= tag == "pre"

    def add(self, text: str | None, line: int) -> None:
        """Add text to the open block."""
        if not text:
            return
        if not self._line and (words := text.lstrip()):
            self._line = line + text.count("\n", 0, len(text) - len(words))
        self._parts.append(text if self._verbatim else _SPACE.sub(" ", text))

    def flushed(self) -> Iterator[Block]:
        """Give the open block, and begin another one."""
        line, text = self._line, self._text()
        if not text:
            return
        if self._level:
            yield Block(line, text.replace("\n", " "), self._level)
        elif self._verbatim:
            # Line by line, so that each has its number.
            for number, part in enumerate(text.split("\n"), line):
                yield Block(number, part, row_of="")
        else:
            yield Block(line, text)

    def finished(self) -> Iterator[Block]:
        """Give what is left, also of a table without an end."""
        yield from self._table()
        yield from self.flushed()

    def _text(self) -> str:
        text = "".join(self._parts)
        self._parts, self._line = [], 0
        if self._verbatim:
            return text.strip("\n")
        return re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text)).strip(" \n")

    def _between(self) -> Iterator[Block]:
        """Begin another paragraph; in a cell, another line."""
        if self._cells is None:
            yield from self.flushed()
        else:
            self._parts.append("\n")

    def _end_row(self) -> None:
        if self._cells:
            self._rows.append((self._row_line, self._cells))
        self._cells = None

    def _table(self) -> Iterator[Block]:
        """Give the rows of a table that has ended."""
        self._end_row()
        rows, self._rows = self._rows, []
        yield from table(rows)


def _is_skipped(element: etree._Element) -> bool:
    return (
        _name(element) in _SKIPPED
        or element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or element.get("role") == "navigation"
        or _HIDDEN.search(element.get("style") or "") is not None
    )


def _name(element: etree._Element) -> str:
    """Return an element's name without its namespace; empty for an entity."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
