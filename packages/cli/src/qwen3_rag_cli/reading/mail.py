"""Reads e-mail: single messages (.eml) and mailboxes (.mbox). Attachments are named, not read."""

from __future__ import annotations

import email.errors
import io
import mailbox
import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header
from email.message import Message

from qwen3_rag_cli.reading.detection import detect
from qwen3_rag_cli.reading.encodings import codecs_of
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.reading.webpages import html_blocks, parse_html
from qwen3_rag_cli.sections import Block, Section, joined

__all__ = ["read_mail"]

LISTED = ("From", "To", "Cc", "Date")
REQUIRED = ("From", "Date", "Subject", "To", "Message-ID", "Received")

# Damaged messages of a mailbox that the user is told of one by one.
SHOWN = 5

# Of a header that is parsed into parameters, which takes time by the square of its length.
LONGEST_HEADER = 20_000

# What a parser found wrong that means that text is missing.
_DEFECTS = {
    email.errors.NoBoundaryInMultipartDefect: "its parts are not divided",
    email.errors.StartBoundaryNotFoundDefect: "its parts cannot be found",
    email.errors.InvalidBase64CharactersDefect: "a part is no valid base64",
    email.errors.InvalidBase64PaddingDefect: "a part is cut off or no valid base64",
    email.errors.InvalidBase64LengthDefect: "a part is cut off or no valid base64",
}

_BLANK = re.compile(r"\n[ \t]*\n\s*")


def read_mail(source: Source) -> Iterator[Section]:
    """Read a message, its paragraphs counted from 1, or a mailbox, its messages counted."""
    yield from _mailbox(source) if source.path.suffix.lower() == ".mbox" else _message(source)


def _message(source: Source) -> Iterator[Section]:
    message = message_from_bytes(source.path.read_bytes())
    blocks = enumerate(_blocks(source, message, 1), 1)
    numbered = (replace(block, number=number) for number, block in blocks)
    yield from joined(numbered, (source.name,), "paragraph")


def _mailbox(source: Source) -> Iterator[Section]:
    with open(source.path, "rb") as file:
        if file.read(5) != b"From ":
            raise Unusable("is no mailbox in the format mbox: it does not begin with `From `")
    box = mailbox.mbox(source.path, create=False)
    damaged: list[str] = []
    try:
        for number, message in enumerate(box, 1):
            try:
                blocks = [replace(block, number=number) for block in _blocks(source, message, 1)]
            except Unusable as error:
                damaged.append(f"message {number} {error.reason}")
            else:
                yield from joined(blocks, (source.name,), "message")
    finally:
        box.close()
    if damaged:
        shown = "; ".join(damaged[:SHOWN]) + ("; ..." if damaged[SHOWN:] else "")
        source.notes.append(f"{len(damaged)} of its messages left out: {shown}")


def _blocks(source: Source, message: Message, level: int) -> Iterator[Block]:
    headers = {name: text for name in (*REQUIRED, *LISTED) if (text := _header(message, name))}
    if not headers:
        raise Unusable("is no e-mail message: it has no headers such as From, Date and Subject")
    yield Block(1, headers.get("Subject") or "(no subject)", level)
    if shown := "\n".join(f"{name}: {headers[name]}" for name in LISTED if name in headers):
        yield Block(1, shown)
    yield from _part(source, message, level)


def _part(source: Source, part: Message, level: int) -> Iterator[Block]:
    for name in ("Content-Type", "Content-Disposition"):
        if len(str(part.get(name, ""))) > LONGEST_HEADER:
            raise Unusable(f"has a header {name} of more than {LONGEST_HEADER:,} characters")
    kind = part.get_content_type()
    if kind == "message/rfc822":
        for message in _parts(source, part):
            yield from _blocks(source, message, level + 1)
        return
    if part.get_content_disposition() == "attachment" or part.get_filename():
        yield Block(1, f"Attachment: {_decoded(part.get_filename() or kind)}")
    elif part.get_content_maintype() == "multipart":
        forms = _parts(source, part)
        if kind == "multipart/alternative":
            # The same text in several forms.
            plain = [form for form in forms if form.get_content_type() == "text/plain"]
            forms = plain or forms[-1:]
        for form in forms:
            yield from _part(source, form, level)
    else:
        yield from _body(part, kind, level)


def _body(part: Message, kind: str, level: int) -> Iterator[Block]:
    if part.get_content_maintype() != "text":
        yield Block(1, f"Attachment: {kind}")
    elif text := _text(part).strip():
        if kind == "text/html":
            for block in html_blocks(parse_html(text)):
                yield replace(block, level=block.level + level if block.level else 0)
        else:
            yield from (Block(1, found) for found in _BLANK.split(text))


def _parts(source: Source, part: Message) -> list[Message]:
    _check(part)
    if any(isinstance(defect, email.errors.CloseBoundaryNotFoundDefect) for defect in part.defects):
        note = "the last part of a message has no end; it may be cut off"
        source.notes += [] if note in source.notes else [note]
    payload = part.get_payload()
    return [inner for inner in payload if isinstance(inner, Message)]


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    _check(part)
    raw = payload if isinstance(payload, bytes) else b""
    return _decode(raw, part.get_content_charset()).replace("\r\n", "\n")


def _decode(raw: bytes, charset: str | None) -> str:
    for codec in codecs_of(charset) if charset else ():
        try:
            return raw.decode(codec)
        except (LookupError, ValueError):
            continue
    encoding = detect(io.BytesIO(raw))
    return raw.decode(encoding.codec, encoding.errors)


def _check(part: Message) -> None:
    for defect in part.defects:
        for kind, reason in _DEFECTS.items():
            if isinstance(defect, kind):
                raise Unusable(f"is damaged: {reason}")


def _header(message: Message, name: str) -> str:
    found = (value for key, value in message.raw_items() if key.lower() == name.lower())
    return ", ".join(_decoded(str(value)) for value in found)


def _decoded(value: str) -> str:
    """Decode the words of a header, which may also have bytes that no header should have."""
    raw = value.encode("utf-8", "surrogateescape")
    text = value if value.isascii() else _decode(raw, None)
    parts = []
    for word, charset in decode_header(text):
        # Words are bytes in the named encoding, or escaped if none is named.
        if isinstance(word, bytes):
            parts.append(_decode(word, charset) if charset else word.decode("raw_unicode_escape"))
        else:
            parts.append(word)
    return " ".join("".join(parts).split())
