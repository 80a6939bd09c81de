"""Reads Markdown, text and source code."""

from __future__ import annotations

from collections.abc import Iterator

from qwen3_rag_cli.headings import sections
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.sections import Section

__all__ = ["read_markdown", "read_text"]


def read_markdown(source: Source) -> Iterator[Section]:
    """Read Markdown, which is split at its headings."""
    yield from sections(source.text())


def read_text(source: Source) -> Iterator[Section]:
    """Read text or source code, which has no headings but the file's name."""
    yield Section((source.name,), "", 1, source.text())
