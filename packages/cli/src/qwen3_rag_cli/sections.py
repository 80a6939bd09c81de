"""Sections of a text: what is under one heading, and where in the file each part of it is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PLACES", "Block", "Place", "Section", "joined"]

_UNITS = ("page", "slide", "row", "cell", "section", "message", "paragraph")

#: Fields of a payload that tell the place of a chunk in a file that is not read by lines.
PLACES = ("place", "sheet", *(name for unit in _UNITS for name in (unit, f"end_{unit}")))

#: Sections that are joined of blocks are no longer than this, so that memory is bounded.
LONGEST = 50_000

# A table that is longer than this is a section of its own, whose pieces repeat its header.
LONG_TABLE = 1_000


@dataclass(frozen=True)
class Place:
    """Where a text is in its file: from which line, page, row or the like to which.

    Attributes:
        unit: What is counted: a line, or one of `PLACES`.
        first: The first one, from 1.
        last: The last one.
        sheet: The sheet of a spreadsheet; otherwise empty.
    """

    unit: str
    first: int
    last: int
    sheet: str = ""

    def __str__(self) -> str:
        one = self.first == self.last
        found = f"{self.unit} {self.first}" if one else f"{self.unit}s {self.first}-{self.last}"
        return f"sheet {self.sheet}, {found}" if self.sheet else found

    def payload(self) -> dict[str, Any]:
        """Return the fields of a chunk's payload that tell its place."""
        if self.unit == "line":
            return {"line": self.first, "end_line": self.last}
        found = {"place": str(self), self.unit: self.first, f"end_{self.unit}": self.last}
        return {**found, "sheet": self.sheet} if self.sheet else found


@dataclass(frozen=True)
class Section:
    r"""A heading and the text below it, up to the next heading of any level.

    Attributes:
        parents: Headings above its own, outermost first.
        heading: Its own heading; empty for text above the first heading.
        line: Its first line, from 1, if lines are what is counted and there are no marks.
        text: Its lines, including the heading, with `\n` at their ends.
        body: Offset in `text` where the heading ends.
        unit: What is counted to tell where a part of it is.
        marks: Offsets in `text` where the next page, row or the like begins, and its number. In
            order.
        sheet: The sheet of a spreadsheet; otherwise empty.
        header: The first row of a table, whose other rows are the text.
        is_markdown: Whether the text is Markdown.
    """

    parents: tuple[str, ...]
    heading: str
    line: int
    text: str
    body: int = 0
    unit: str = "line"
    marks: tuple[tuple[int, int], ...] = ()
    sheet: str = ""
    header: str = ""
    is_markdown: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """All headings, including its own."""
        return (*self.parents, self.heading) if self.heading else self.parents

    def place(self, start: int, end: int) -> Place:
        """Tell where the text between two offsets is."""
        if not self.marks:
            first = self.line + self.text.count("\n", 0, start)
            return Place("line", first, first + self.text.count("\n", start, end))
        first = self.marks[max(bisect_right(self.marks, start, key=_offset) - 1, 0)][1]
        last = self.marks[max(bisect_left(self.marks, end, key=_offset) - 1, 0)][1]
        return Place(self.unit, first, max(first, last), self.sheet)


@dataclass(frozen=True)
class Block:
    """A paragraph, heading or row of a table.

    Attributes:
        number: Of the page, row or the like that it is in.
        text: Its text.
        level: Level of a heading, from 1; 0 for other text.
        row_of: The header of the table that it is a row of; `None` for other text.
    """

    number: int
    text: str
    level: int = 0
    row_of: str | None = None


@dataclass
class _Open:
    """The section that blocks are being added to."""

    parents: tuple[str, ...]
    heading: Block | None = None
    blocks: list[Block] = field(default_factory=list)
    length: int = 0


def joined(
    blocks: Iterable[Block], root: tuple[str, ...], unit: str, *, sheet: str = ""
) -> Iterator[Section]:
    """Join blocks under the same heading into sections.

    A heading directly followed by a lower one gives no section of its own: it is a parent of the
    next one.

    Args:
        blocks: The blocks in their order.
        root: Headings above all of them, such as the title.
        unit: What the blocks' numbers count.
        sheet: The sheet of a spreadsheet.
    """
    stack: list[Block] = []
    open_ = _Open(root)

    def closed() -> Iterator[Section]:
        yield from _sections(open_, unit, sheet)

    for block in blocks:
        if block.level:
            is_parent = open_.heading is not None and open_.heading.level < block.level
            if open_.blocks or not is_parent:
                yield from closed()
            stack = [above for above in stack if above.level < block.level]
            open_ = _Open((*root, *(above.text for above in stack)), block)
            stack.append(block)
            continue
        if open_.length > LONGEST:
            yield from closed()
            # The rest has the same headings, but not the heading as its first line.
            path = open_.parents if open_.heading is None else (*open_.parents, open_.heading.text)
            open_ = _Open(path)
        open_.blocks.append(block)
        open_.length += len(block.text)
    yield from closed()


def _sections(open_: _Open, unit: str, sheet: str) -> Iterator[Section]:
    """Make a section of the blocks, and one of each long table among them."""
    heading, group = open_.heading, list[Block]()
    path = open_.parents if heading is None else (*open_.parents, heading.text)
    for run in _runs(open_.blocks):
        header = run[0].row_of
        if not header or sum(len(row.text) for row in run) < LONG_TABLE:
            # A short table is a part of the text around it.
            group += run if not header else [Block(run[0].number, header, row_of=""), *run]
            continue
        if group or heading:
            yield _section(open_.parents, heading, group, unit, sheet)
        yield _section(path, None, run, unit, sheet, header)
        heading, group = None, []
        open_ = _Open(path)
    if group or heading:
        yield _section(open_.parents, heading, group, unit, sheet)


def _runs(blocks: list[Block]) -> Iterator[list[Block]]:
    """Group neighbouring rows of the same table."""
    run: list[Block] = []
    for block in blocks:
        if run and block.row_of != run[-1].row_of:
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _section(
    parents: tuple[str, ...],
    heading: Block | None,
    blocks: list[Block],
    unit: str,
    sheet: str,
    header: str = "",
) -> Section:
    parts: list[str] = []
    marks: list[tuple[int, int]] = []
    length = body = 0
    above: Block | None = None
    for block in [*([heading] if heading else []), *blocks]:
        is_row = above is not None and above.row_of is not None and block.row_of is not None
        between = "" if above is None else "\n" if is_row else "\n\n"
        length += len(between)
        if block is not heading and above is heading:
            body = length
        marks.append((length, block.number))
        parts += [between, block.text]
        length += len(block.text)
        above = block
    return Section(
        parents,
        heading.text if heading else "",
        marks[0][1],
        "".join(parts),
        body,
        unit,
        tuple(marks),
        sheet,
        header,
    )


def _offset(mark: tuple[int, int]) -> int:
    return mark[0]
