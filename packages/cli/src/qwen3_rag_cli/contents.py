"""Reads a file as text."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Content", "Unusable", "read"]

# Nearly every binary format contains this byte, and text never does.
NUL = b"\0"


@dataclass(frozen=True)
class Content:
    r"""The content of a file.

    Attributes:
        text: Its text, line ends as `\n`.
        digest: SHA-256 of its bytes.
        note: A human-readable remark about the encoding; empty if there are no problems.
    """

    text: str
    digest: str
    note: str = ""


class Unusable(Exception):
    """A file cannot be read as text.

    Attributes:
        reason: The reason, human-readable.
        keep: Whether its chunks stay in the index.
    """

    def __init__(self, reason: str, *, keep: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keep = keep


def read(path: Path) -> Content:
    """Read a text file.

    It is read as UTF-8, or UTF-16 when it begins with a byte order mark. Bytes that are not valid
    UTF-8 become replacement characters, with a note: a file with one invalid character is still
    worth searching.

    Raises:
        Unusable: The file no longer exists, cannot be read, or is not text.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise Unusable("vanished while indexing") from None
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror or error}", keep=True) from None
    text, note = _decode(raw)
    return Content(
        text.replace("\r\n", "\n").replace("\r", "\n"), hashlib.sha256(raw).hexdigest(), note
    )


def _decode(raw: bytes) -> tuple[str, str]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return raw.decode("utf-16"), ""
        except UnicodeDecodeError:
            raise Unusable("is neither text nor valid UTF-16") from None
    if NUL in raw:
        raise Unusable("is binary, not text")
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        text = raw.decode("utf-8-sig", errors="replace")
        broken = text.count("\N{REPLACEMENT CHARACTER}")
        if broken > len(text) // 4:
            raise Unusable("is not UTF-8 text") from None
        line = raw.count(b"\n", 0, error.start) + 1
        return text, f"not valid UTF-8: {broken} characters replaced, the first in line {line}"
