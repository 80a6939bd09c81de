"""Reads PowerPoint presentations. The extra `office` installs the library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pptx

from qwen3_rag_cli.reading.archives import checked_archive, refuse_dtd
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.tables import row_text
from qwen3_rag_cli.sections import Section

__all__ = ["read_slides"]

WHAT = "PowerPoint presentation (.pptx)"


def read_slides(source: Source) -> Iterator[Section]:
    """Read the text, tables and notes of each slide, headed by its title."""
    with checked_archive(source.path, WHAT) as archive:
        refuse_dtd(archive, WHAT)
    with open(source.path, "rb") as file:
        presentation = pptx.Presentation(file)
    for number, slide in enumerate(presentation.slides, 1):
        named = slide.shapes.title
        title = " ".join(named.text_frame.text.split()) if named is not None else ""
        texts = [title] if title else []
        for shape in slide.shapes:
            if named is None or shape.shape_id != named.shape_id:
                texts += _texts(shape)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            texts.append(slide.notes_slide.notes_text_frame.text)
        text = "\n\n".join(_lines(text) for text in texts if text.strip())
        if text:
            body = len(title) + 2 if title and text != title else 0
            yield Section((source.name,), title, 1, text, body, unit="slide", marks=((0, number),))


def _texts(shape: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group
        for inner in shape.shapes:
            yield from _texts(inner)
    elif shape.has_text_frame:
        yield shape.text_frame.text
    elif getattr(shape, "has_table", False):
        yield "\n".join(row_text(cell.text for cell in row.cells) for row in shape.table.rows)


def _lines(text: str) -> str:
    # A vertical tab is a line end inside a paragraph.
    return "\n".join(line.strip() for line in text.replace("\v", "\n").split("\n")).strip()
