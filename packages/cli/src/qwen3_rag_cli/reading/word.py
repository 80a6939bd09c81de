"""Reads Word documents. The extra `office` installs the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mammoth

from qwen3_rag_cli.reading.archives import checked_archive, refuse_dtd
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.webpages import html_blocks, html_title, parse_html
from qwen3_rag_cli.sections import Section, joined

__all__ = ["read_word"]

WHAT = "Word document (.docx)"

# Besides the library's own, which has the styles of headings.
_STYLES = """
p[style-name='Title'] => title:fresh
p[style-name='Subtitle'] => p:fresh
"""


def read_word(source: Source) -> Iterator[Section]:
    """Read a document, with its tables, footnotes and text boxes; paragraphs are counted from 1."""
    with checked_archive(source.path, WHAT) as archive:
        refuse_dtd(archive, WHAT)
    with open(source.path, "rb") as file:
        found = mammoth.convert_to_html(
            file,
            style_map=_STYLES,
            include_embedded_style_map=False,
            convert_image=_without_image,
            external_file_access=False,
        )
    if not found.value:
        return
    root = parse_html(found.value)
    blocks = [replace(block, number=number) for number, block in enumerate(html_blocks(root), 1)]
    title = html_title(root)
    yield from joined(blocks, (source.name, title) if title else (source.name,), "paragraph")


def _without_image(image: Any) -> list[Any]:
    return []
