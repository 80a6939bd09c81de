"""Reads CSV, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice

from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.tables import table
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Section, joined

__all__ = ["read_csv"]

DELIMITERS = ",;\t|"
SAMPLED = 50

# Characters. A longer cell is one without its closing quote, with the rest of the file in it.
LONGEST_CELL = 1_000_000

# A row of its own, unless a quote is open.
_END = "\0end"


def read_csv(source: Source) -> Iterator[Section]:
    """Read a table; rows are numbered like in a spreadsheet, from 1 with the header."""
    yield from joined(table(_rows(source)), (source.name,), "row")


def _rows(source: Source) -> Iterator[tuple[int, list[str]]]:
    delimiter = _delimiter(list(islice(source.lines(""), SAMPLED)))
    before = csv.field_size_limit(LONGEST_CELL)
    number = 0
    try:
        for cells in csv.reader(_with_end(source.lines("")), delimiter=delimiter):
            if cells == [_END]:
                return
            number += 1
            yield number, cells
    except csv.Error as error:
        raise Unusable(
            f"is no CSV that can be read: row {number + 1}: {error}. A quote may be missing"
        ) from None
    finally:
        csv.field_size_limit(before)
    # The end became part of the last row.
    raise Unusable(
        f"is cut off or damaged: a quote that is opened in row {number} is not closed. Close it"
    )


def _with_end(lines: Iterator[str]) -> Iterator[str]:
    yield from lines
    yield _END


def _delimiter(lines: list[str]) -> str:
    """Choose the delimiter that divides most lines into the same number of cells."""

    def agreement(delimiter: str) -> tuple[int, int]:
        widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells]
        first = widths[0] if widths else 1
        return (widths.count(first) if first > 1 else 0, first)

    try:
        return max(DELIMITERS, key=agreement)
    except csv.Error:
        return ","
