"""Reads e-books in EPUB, chapter file by chapter file."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote

from lxml import etree

from qwen3_rag_cli.reading.archives import checked_archive, parse_xml
from qwen3_rag_cli.reading.detection import detect
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.reading.webpages import html_blocks, parse_html
from qwen3_rag_cli.sections import Block, Section, joined

__all__ = ["read_epub"]

WHAT = "EPUB"
CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"


def read_epub(source: Source) -> Iterator[Section]:
    """Read a book; its sections are the files in their reading order, counted from 1."""
    with checked_archive(source.path, WHAT) as archive:
        yield from _Book(archive).sections(source.name)


class _Book:
    """A book and its package document, which lists the files."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        container = self._xml(CONTAINER)
        rootfile = container.find(".//{*}rootfile")
        if rootfile is None:
            raise Unusable(f"is no {WHAT}: {CONTAINER!r} names no package document")
        package = rootfile.get("full-path", "")
        self._folder = posixpath.dirname(package)
        self._package = self._xml(package)
        self._files = {
            item.get("id"): self._path(item.get("href", ""))
            for item in self._package.iterfind(".//{*}manifest/{*}item")
        }

    def sections(self, name: str) -> Iterator[Section]:
        """Give the sections of all files, headed by the book's title."""
        found = self._package.findtext(".//{*}metadata/{*}title")
        book: tuple[str, ...] = (" ".join((found or name).split()),)
        path = book
        titles = self._titles()
        for number, file in enumerate(self._chapters(), 1):
            blocks = [replace(block, number=number) for block in self._blocks(file)]
            if not any(block.level for block in blocks) and blocks and file in titles:
                blocks = [Block(number, titles[file], 1), *blocks]
            # A file without a heading goes on with the chapter of the one before.
            root = book if any(block.level for block in blocks) else path
            for section in joined(blocks, root, "section"):
                path = section.path
                yield section

    def _chapters(self) -> Iterator[str]:
        """List the files in their reading order."""
        locked = self._locked()
        for item in self._package.iterfind(".//{*}spine/{*}itemref"):
            file = self._files.get(item.get("idref"), "")
            if file in locked:
                raise Unusable("is protected against copying (DRM), so its text cannot be read")
            yield file

    def _blocks(self, file: str) -> Iterator[Block]:
        raw = io.BytesIO(self._read(file))
        encoding = detect(raw)
        text = raw.getvalue().decode(encoding.codec, encoding.errors)
        yield from html_blocks(parse_html(text))

    def _titles(self) -> dict[str, str]:
        """Find the files' titles in the table of contents."""
        found: dict[str, str] = {}
        for item in self._package.iterfind(".//{*}manifest/{*}item"):
            path = self._path(item.get("href", ""))
            if item.get("media-type") == "application/x-dtbncx+xml":
                for point in self._xml(path).iterfind(".//{*}navPoint"):
                    content, text = point.find("{*}content"), point.findtext("{*}navLabel/{*}text")
                    if content is not None and text:
                        found.setdefault(self._path(content.get("src", ""), path), text.strip())
            elif "nav" in item.get("properties", "").split():
                for link in self._xml(path).iterfind(".//{*}nav//{*}a"):
                    text = " ".join("".join(link.itertext()).split())
                    found.setdefault(self._path(link.get("href", ""), path), text)
        return found

    def _locked(self) -> set[str]:
        """Find the encrypted files; fonts may be, and are not read."""
        if ENCRYPTION not in self._archive.namelist():
            return set()
        references = self._xml(ENCRYPTION).iterfind(".//{*}CipherReference")
        return {unquote(reference.get("URI", "")) for reference in references}

    def _path(self, link: str, beside: str = "") -> str:
        folder = posixpath.dirname(beside) if beside else self._folder
        return posixpath.normpath(posixpath.join(folder, unquote(link.partition("#")[0])))

    def _xml(self, path: str) -> etree._Element:
        try:
            return parse_xml(self._read(path))
        except etree.LxmlError as error:
            raise Unusable(f"is damaged: its part {path!r} cannot be read ({error})") from None

    def _read(self, path: str) -> bytes:
        try:
            return self._archive.read(path)
        except KeyError:
            raise Unusable(f"is damaged or no {WHAT}: it has no part {path!r}") from None
