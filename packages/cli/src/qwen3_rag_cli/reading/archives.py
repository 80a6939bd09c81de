"""Opens the ZIP archives that office files and e-books are, and refuses those made to do harm."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lxml import etree

from qwen3_rag_cli.reading.unusable import Unusable

__all__ = ["checked_archive", "parse_xml", "refuse_dtd"]

# What is packed may be this much larger than the archive. Text rarely shrinks to a thirtieth, and
# the worst archives unpack to a thousand times their size and more.
RATIO, ALLOWANCE = 200, 10_000_000
LARGEST = 2_000_000_000

# The format of Word 97 and its like; files with a password are wrapped in it too.
_OLE = b"\xd0\xcf\x11\xe0"


@contextmanager
def checked_archive(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose sizes are reasonable and whose files need no password.

    Args:
        path: The file.
        what: What it should be, for messages.

    Raises:
        Unusable: It is damaged, needs a password, or would be far too large when it is unpacked.
    """
    with open(path, "rb") as file:
        head = file.read(4)
        size = file.seek(0, 2)
        if head == _OLE:
            raise Unusable(
                f"has a password, or is of a format before {what}. Save it as {what} without a "
                "password"
            )
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Unusable(f"is cut off, damaged, or no {what}: {error}") from None
        with archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > min(RATIO * size + ALLOWANCE, LARGEST):
                raise Unusable(
                    f"would be {total / 1e6:,.0f} MB when unpacked, from {size / 1e6:,.1f} MB; it "
                    "may be made to do harm. Save it again if it is not"
                )
            if any(member.flag_bits & 1 for member in archive.infolist()):
                raise Unusable("has a password. Save it without one")
            yield archive


def refuse_dtd(archive: zipfile.ZipFile, what: str) -> None:
    """Refuse declarations of entities, with which XML can grow without end or load other files.

    Office files never have any.

    Raises:
        Unusable: A file in the archive has some, or is no XML.
    """
    for member in archive.infolist():
        if member.filename.endswith((".xml", ".rels")):
            with archive.open(member) as file:
                begun = etree.iterparse(
                    file, events=("start",), resolve_entities=False, no_network=True
                )
                try:
                    root = next(begun)[1]
                except (etree.LxmlError, StopIteration, zipfile.BadZipFile, OSError) as error:
                    raise Unusable(
                        f"is damaged: its part {member.filename!r} cannot be read ({error})"
                    ) from None
                if root.getroottree().docinfo.internalDTD is not None:
                    raise Unusable(
                        f"declares entities in {member.filename!r}, as no {what} does; it may be "
                        "made to do harm. Save it again if it is not"
                    )


def parse_xml(text: bytes) -> etree._Element:
    """Parse XML without entities of its own, and load nothing.

    Raises:
        lxml.etree.XMLSyntaxError: It is no XML.
    """
    return etree.fromstring(
        text, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    )
