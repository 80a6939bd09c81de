"""Reads Excel workbooks, row by row. The extra `office` installs the library."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import openpyxl

from qwen3_rag_cli.reading.archives import checked_archive, refuse_dtd
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.tables import table
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Section, joined

__all__ = ["read_spreadsheet"]

WHAT = "Excel workbook (.xlsx)"

#: Cells of a sheet, with the empty ones.
MOST_CELLS = 20_000_000


def read_spreadsheet(source: Source) -> Iterator[Section]:
    """Read the values of each sheet, those of formulas as they were last computed."""
    with checked_archive(source.path, WHAT) as archive:
        refuse_dtd(archive, WHAT)
    workbook = openpyxl.load_workbook(source.path, read_only=True, data_only=True, keep_links=False)
    try:
        for sheet in workbook.worksheets:
            # What the file says of its size may be wrong.
            sheet.reset_dimensions()
            root = (source.name, sheet.title)
            yield from joined(table(_rows(sheet)), root, "row", sheet=sheet.title)
    finally:
        workbook.close()


def _rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    cells = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        cells += len(row)
        if cells > MOST_CELLS:
            raise Unusable(
                f"has more than {MOST_CELLS:,} cells, empty ones included, in sheet "
                f"{sheet.title!r}. Divide it, or save it as CSV"
            )
        yield number, [_told(value) for value in row]


def _told(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        has_time = value.time() != datetime.time()
        return value.isoformat(" ", "seconds") if has_time else value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
