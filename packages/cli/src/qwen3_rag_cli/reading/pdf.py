"""Reads PDF, page by page. The extra `pdf` installs the library."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pypdfium2
from pypdfium2 import raw

from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Section

__all__ = ["read_pdf"]

# Bookmarks are read down to this level.
DEEPEST = 15

# The library puts it in place of a hyphen at the end of a line.
_HYPHEN = re.compile("[\ufffe\x02]\\s*(?=(\\w?))")

# Characters whose font does not say what they are.
_UNKNOWN = re.compile("[\x00-\x08\x0e-\x1f\ufffd\ue000-\uf8ff]")


def read_pdf(source: Source) -> Iterator[Section]:
    """Read the text of each page, headed by the bookmarks that lead to it."""
    try:
        document = pypdfium2.PdfDocument(source.path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise Unusable("has a password. Save it without one") from None
        raise Unusable(f"is cut off, damaged, or no PDF: {error}") from None
    with document:
        yield from _pages(source, document)


def _pages(source: Source, document: pypdfium2.PdfDocument) -> Iterator[Section]:
    paths = _paths(document)
    path: tuple[str, ...] = ()
    pictures: list[int] = []
    length = unknown = 0
    for number in range(1, len(document) + 1):
        path = paths.get(number, path)
        text, is_picture = _page(document, number)
        length += len(text)
        unknown += len(_UNKNOWN.findall(text))
        if unknown * 5 > length > 200:
            raise Unusable(
                "has fonts that do not say which characters they show. Print it to a PDF again, or "
                "run text recognition (OCR) over it"
            )
        if text:
            yield Section((source.name, *path), "", 1, text, unit="page", marks=((0, number),))
        elif is_picture:
            pictures.append(number)
    if not length:
        raise Unusable(
            "has no text; it may be scanned. Run text recognition (OCR) over it, such as OCRmyPDF"
        )
    if pictures:
        shown = ", ".join(map(str, pictures[:10])) + (", ..." if pictures[10:] else "")
        source.notes.append(f"has pages with pictures and no text, which may be scanned: {shown}")


def _page(document: pypdfium2.PdfDocument, number: int) -> tuple[str, bool]:
    """Return the text of a page, and whether it has a picture instead."""
    try:
        page = document[number - 1]
        text = page.get_textpage().get_text_bounded()
        is_picture = not text.strip() and any(page.get_objects([raw.FPDF_PAGEOBJ_IMAGE]))
        page.close()
    except pypdfium2.PdfiumError as error:
        raise Unusable(f"is damaged: page {number} cannot be read ({error})") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HYPHEN.sub(lambda found: "" if found[1].islower() else "-", text).strip(), is_picture


def _paths(document: pypdfium2.PdfDocument) -> dict[int, tuple[str, ...]]:
    """Find the first bookmark of each page, with those above it."""
    found: dict[int, tuple[str, ...]] = {}
    open_: list[str] = []
    for bookmark in document.get_toc(max_depth=DEEPEST):
        title = " ".join(bookmark.get_title().split())
        open_[bookmark.level :] = [title]
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        if index is not None:
            found.setdefault(index + 1, tuple(filter(None, open_)))
    return found
