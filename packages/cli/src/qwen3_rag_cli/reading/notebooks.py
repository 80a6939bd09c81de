"""Reads Jupyter notebooks: text and code, without outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qwen3_rag_cli.headings import headings_of
from qwen3_rag_cli.reading.jsonlines import parsed
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Block, Section, joined

__all__ = ["read_notebook"]


def read_notebook(source: Source) -> Iterator[Section]:
    """Read a notebook; cells under one heading are joined, and counted from 1."""
    yield from joined(_blocks(source), (source.name,), "cell")


def _blocks(source: Source) -> Iterator[Block]:
    for number, cell in enumerate(_cells(parsed(source.text())), 1):
        if not isinstance(cell, dict):
            raise _no_notebook()
        written = cell.get("source", cell.get("input", ""))
        text = "".join(map(str, written)) if isinstance(written, list) else str(written)
        if cell.get("cell_type") in ("markdown", "heading"):
            if cell["cell_type"] == "heading":  # of notebooks before 2015
                text = f"{'#' * int(cell.get('level', 1))} {text}"
            yield from _markdown(number, text)
        elif text.strip():
            yield Block(number, text.strip("\n"))


def _cells(notebook: Any) -> list[Any]:
    if isinstance(notebook, dict):
        cells = notebook.get("cells")
        if cells is None and isinstance(notebook.get("worksheets"), list):  # before version 4
            sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
            cells = [cell for sheet in sheets for cell in sheet.get("cells") or []]
        if isinstance(cells, list):
            return cells
    raise _no_notebook()


def _no_notebook() -> Unusable:
    return Unusable("is JSON, but no notebook: it has no list of cells. Save it again in Jupyter")


def _markdown(number: int, text: str) -> Iterator[Block]:
    lines = text.split("\n")
    done = 0
    for heading in headings_of(text):
        if above := "\n".join(lines[done : heading.first]).strip("\n"):
            yield Block(number, above)
        yield Block(number, heading.title, heading.level)
        done = heading.behind
    if rest := "\n".join(lines[done:]).strip("\n"):
        yield Block(number, rest)
