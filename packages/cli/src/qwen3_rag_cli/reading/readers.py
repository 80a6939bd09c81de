"""Chooses the reader of a file by its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TypeAlias

from qwen3_rag_cli import formats
from qwen3_rag_cli.formats import Kind
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Section

__all__ = ["APART", "read"]

_Read: TypeAlias = Callable[[Source], Iterator[Section]]

# Module and function of each kind. A module is imported when a file needs it.
_READERS: dict[Kind, tuple[str, str]] = {
    "markdown": ("texts", "read_markdown"),
    "text": ("texts", "read_text"),
    "code": ("texts", "read_text"),
    "html": ("webpages", "read_html"),
    "csv": ("delimited", "read_csv"),
    "jsonl": ("jsonlines", "read_json_lines"),
    "notebook": ("notebooks", "read_notebook"),
    "mail": ("mail", "read_mail"),
    "epub": ("epub", "read_epub"),
    "pdf": ("pdf", "read_pdf"),
    "word": ("word", "read_word"),
    "slides": ("slides", "read_slides"),
    "spreadsheet": ("spreadsheets", "read_spreadsheet"),
}

# Kinds of which a file may be empty, and that no library reads.
PLAIN: frozenset[Kind] = frozenset({"code", "markdown", "text"})

#: Kinds whose files can make their reader run for ever, or end the process.
APART: frozenset[Kind] = frozenset({"epub", "mail", "pdf", "slides", "spreadsheet", "word"})


def read(source: Source) -> Iterator[Section]:
    """Read a file's sections.

    Raises:
        Unusable: It is damaged, or has no text.
    """
    kind = formats.kind_of(source.path)
    is_empty = True
    try:
        for section in _reader(kind)(source):
            # Halves of pairs in UTF-16, which JSON and office files can have.
            "".join((*section.path, section.text, section.header)).encode()
            is_empty = False
            yield section
    except (Unusable, ImportError, MemoryError):
        raise
    except UnicodeError:
        raise Unusable("has characters that are no valid Unicode. Save it again") from None
    except RecursionError:
        raise Unusable("is nested too deeply to be read") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise Unusable(f"cannot be read: {error.strerror or error}", keep=True) from None
        if kind in PLAIN:
            raise
        # What a library meets in a damaged file can end in any of Python's errors.
        raise Unusable(
            f"is damaged, or not of the format that its name says: {type(error).__name__}: {error}"
        ) from error
    if is_empty and kind not in PLAIN:
        raise Unusable("has no text")


def _reader(kind: Kind) -> _Read:
    module, function = _READERS[kind]
    found: _Read = getattr(import_module(f"qwen3_rag_cli.reading.{module}"), function)
    return found
