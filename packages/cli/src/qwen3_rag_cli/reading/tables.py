"""Tables and records as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qwen3_rag_cli.sections import Block

__all__ = ["record_text", "row_text", "table"]

# A longer header is not repeated; the names of the columns are beside each value instead.
LONGEST_HEADER = 240

# What is longer is no name of a column.
LONGEST_NAME = 80

_NUMBER = re.compile(r"[-+(]?[\d.,:/\s%€$£¥-]+\)?")


def row_text(cells: Iterable[str]) -> str:
    """Write a row in one line, its cells divided by bars."""
    return " | ".join(_trimmed([" ".join(cell.split()) for cell in cells]))


def table(rows: Iterable[tuple[int, Sequence[str]]]) -> Iterator[Block]:
    """Make a block of each row that is not empty.

    The first one can be the header. It is then no block itself, but repeated where it is useful.

    Args:
        rows: Number and cells of each row.
    """
    filled = ((number, cells) for number, cells in rows if any(map(str.strip, cells)))
    first, second = next(filled, None), next(filled, None)
    if first is None:
        return
    _, names = first
    if second is None or not _is_header(names, second[1]):
        for n, cells in _after(first, _after(second, filled)):
            # Without names of columns, empty cells say nothing.
            yield Block(n, row_text(cell for cell in cells if cell.strip()), row_of="")
        return
    header = row_text(names)
    is_wide = len(header) > LONGEST_HEADER
    for n, cells in _after(second, filled):
        if is_wide:
            yield Block(n, record_text(_named(names, cells)))
        else:
            # Beyond the header, empty cells say nothing.
            more = [cell for cell in cells[len(names) :] if cell.strip()]
            yield Block(n, row_text([*cells[: len(names)], *more]), row_of=header)


def record_text(record: Any) -> str:
    """Write a value of JSON as lines of name and value, names of nested ones divided by dots."""
    return "\n".join(_lines("", record))


def _after(
    second: tuple[int, Sequence[str]] | None, others: Iterator[tuple[int, Sequence[str]]]
) -> Iterator[tuple[int, Sequence[str]]]:
    if second is not None:
        yield second
    yield from others


def _is_header(names: Sequence[str], below: Sequence[str]) -> bool:
    """Tell whether a row has the names of columns: a name in each, and unlike the row below."""
    names = _trimmed([name.strip() for name in names])
    numbers = [bool(_NUMBER.fullmatch(name)) for name in names]
    those_below = [bool(_NUMBER.fullmatch(cell.strip())) for cell in below[: len(names)]]
    are_names = all(0 < len(name) <= LONGEST_NAME for name in names)
    return are_names and (not any(numbers) or numbers != those_below)


def _trimmed(cells: list[str]) -> list[str]:
    """Leave out the empty cells at the end."""
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _named(names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for place, cell in enumerate(cells):
        name = names[place].strip() if place < len(names) else ""
        if cell.strip():
            # Two columns may have one name.
            named[name if name and name not in named else f"{name or 'column'} {place + 1}"] = cell
    return named


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list):
        plain = [_plain(entry) for entry in value if not isinstance(entry, (dict, list))]
        if text := ", ".join(filter(None, plain)):
            yield f"{name}: {text}" if name else text
        for entry in value:
            if isinstance(entry, (dict, list)):
                yield from _lines(name, entry)
    elif text := _plain(value):
        yield f"{name}: {text}" if name else text


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()
