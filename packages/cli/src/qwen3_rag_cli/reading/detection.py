"""Finds out the encoding of a text, and refuses bytes that are none."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO

from qwen3_rag_cli.reading.encodings import codecs_of
from qwen3_rag_cli.reading.unusable import Unusable

__all__ = ["Encoding", "detect"]

BLOCK = 1 << 20

# Longest first: the mark of UTF-32 begins like the one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf_32"),
    (codecs.BOM_UTF32_BE, "utf_32"),
    (codecs.BOM_UTF8, "utf_8_sig"),
    (codecs.BOM_UTF16_LE, "utf_16"),
    (codecs.BOM_UTF16_BE, "utf_16"),
)

# Formats that are ASCII, or nearly, and no text to read.
_SIGNATURES = {
    b"%PDF-": "a PDF. Give it the suffix .pdf",
    b"{\\rtf": "RTF. Save it as .docx",
    b"%!PS": "PostScript. Convert it to PDF",
}

# Not tab, line ends, form feed, backspace (in manual pages) and escape (in colours).
_CONTROLS = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_HIGH = re.compile(rb"[\x80-\xff]+")
# Zero, and controls that are in no text but one of another encoding; 85 is an end of line.
_C1 = re.compile("[\x00\x80-\x84\x86-\x9f]")

# Encodings of languages with Latin letters, among which a letter with an accent is rare enough that
# several in a row are more likely a character of another encoding.
_LATIN = re.compile(r"windows-125[02478]|ISO-8859-(?:[1234]|1[03456])")

# The declaration of HTML, XML, Python and editors.
_DECLARED = re.compile(
    rb"(?:charset|coding|encoding)\s{0,9}[=:]\s{0,9}[\"']?([A-Za-z][\w.:-]{1,30})"
)


_OTHERWISE = "which its bytes suggest; --encoding NAME reads it as another one"


@dataclass(frozen=True)
class Encoding:
    """How to decode a file.

    Attributes:
        codec: Python's name of the encoding.
        errors: What to do about bytes that are not valid in it: `strict` or `replace`.
        note: A remark for the user; empty if there is nothing to say.
    """

    codec: str
    errors: str = "strict"
    note: str = ""


@dataclass
class _Scan:
    """What was counted in the bytes of a file.

    Attributes:
        is_utf8: Whether all of it is valid UTF-8.
        size: Number of bytes.
        controls: Number of control characters that texts do not have.
        zeros: Number of zero bytes at even and at odd offsets.
        valid: Number of characters that are valid UTF-8 and not ASCII.
        broken: Number of replacement characters in its place.
        line: Line of the first one.
        runs: The first runs of bytes that are not ASCII.
        has_escapes: Whether it has the escape sequences of ISO 2022.
    """

    is_utf8: bool = True
    size: int = 0
    controls: int = 0
    zeros: list[int] = field(default_factory=lambda: [0, 0])
    valid: int = 0
    broken: int = 0
    line: int = 0
    runs: list[bytes] = field(default_factory=list)
    has_escapes: bool = False


def detect(file: BinaryIO, given: str | None = None) -> Encoding:
    """Find out how to decode a file; it is read once or twice, and rewound.

    A file is UTF-8 if it is valid UTF-8. Otherwise it has the given encoding, or the one that its
    byte order mark or its first lines declare, or the one that its bytes suggest.

    Args:
        file: The file, opened for reading bytes.
        given: The encoding of files that are not UTF-8.

    Raises:
        Unusable: It is not text, or its encoding is unknown.
    """
    head = file.read(1024)
    if (marked := _marked(file, head)) is not None:
        return marked
    found = _scan(file)
    if not any(found.zeros):
        if found.is_utf8 and not _is_binary(found):
            return _escaped(file, given) if found.has_escapes else Encoding("utf_8")
        if found.valid > found.broken:
            return _damaged(found)
    if given is not None:
        return _given(file, given)
    if any(found.zeros):
        return _without_mark(file, found)
    if _is_binary(found):
        raise Unusable("is binary, not text")
    return _declared(file, head) or _guessed(file, found)


def _marked(file: BinaryIO, head: bytes) -> Encoding | None:
    """Read the byte order mark, or the mark of a format that is no text."""
    for signature, told in _SIGNATURES.items():
        if head.startswith(signature):
            raise Unusable(f"is no text but {told}")
    codec = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if codec is None:
        return None
    if not _decodes(file, codec):
        name = codec.removesuffix("_sig").replace("_", "-").upper()
        raise Unusable(f"is neither text nor valid {name}")
    return Encoding(codec)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(BLOCK):
        yield block
    file.seek(0)


def _scan(file: BinaryIO) -> _Scan:
    found = _Scan()
    found.is_utf8 = _decodes(file, "utf_8", unless=None)
    for block in _blocks(file):
        for parity in (0, 1):
            # An even number of bytes went before.
            found.zeros[parity] += block[parity::2].count(0)
        found.size += len(block)
        found.controls += len(_CONTROLS.findall(block))
        found.has_escapes = found.has_escapes or b"\x1b$" in block
        if len(found.runs) < 10_000 and not found.is_utf8:
            found.runs += _HIGH.findall(block)
    if not found.is_utf8:
        _count_broken(file, found)
    return found


def _count_broken(file: BinaryIO, found: _Scan) -> None:
    decoder = codecs.getincrementaldecoder("utf_8")("replace")
    lines = 1
    for block in chain(_blocks(file), (b"",)):
        text = decoder.decode(block, final=not block)
        broken = text.count("\N{REPLACEMENT CHARACTER}")
        if broken and not found.broken:
            found.line = lines + text.count("\n", 0, text.index("\N{REPLACEMENT CHARACTER}"))
        found.broken += broken
        found.valid += len(text) - len(text.encode("ascii", "ignore")) - broken
        lines += text.count("\n")


def _is_binary(found: _Scan) -> bool:
    # Valid UTF-8 is hardly ever anything but text.
    share = 10 if found.is_utf8 else 100
    return any(found.zeros) or found.controls * share > found.size


def _escaped(file: BinaryIO, given: str | None) -> Encoding:
    """Tell ISO 2022, whose escape sequences are ASCII, from a text with those of a terminal."""
    name = given or _guess(file)
    for codec in codecs_of(name):
        if codecs.lookup(codec).name.startswith("iso2022") and _decodes(file, codec):
            return Encoding(codec, note="" if given else f"read as {name}, {_OTHERWISE}")
    return Encoding("utf_8")


def _damaged(found: _Scan) -> Encoding:
    """Accept UTF-8 in which one character in a hundred is damaged, or two in a short text."""
    told = f"{found.broken} characters replaced, the first in line {found.line}"
    if found.broken <= max(2, found.valid // 100) and found.valid > 4 * found.broken:
        # They are not worth losing the file.
        return Encoding("utf_8", "replace", f"not valid UTF-8: {told}")
    raise Unusable(
        f"is UTF-8, but not in {found.broken} places, the first in line {found.line}; part of it "
        "may be in another encoding. Convert that part"
    )


def _given(file: BinaryIO, given: str) -> Encoding:
    for codec in codecs_of(given):
        if _decodes(file, codec):
            return Encoding(codec)
    raise Unusable(
        f"is neither UTF-8 nor valid {given}, which --encoding names. Name its encoding, or index "
        "it in a run of its own"
    )


def _without_mark(file: BinaryIO, found: _Scan) -> Encoding:
    """Tell UTF-16 without a mark, in which nearly every other byte of ASCII is zero."""
    for parity, codec in ((0, "utf_16_be"), (1, "utf_16_le")):
        some, none = found.zeros[parity], found.zeros[1 - parity]
        if some * 5 > found.size and none * 100 < found.size and _decodes(file, codec):
            return Encoding(codec, note=f"read as {codec.upper().replace('_', '-')}, {_OTHERWISE}")
    raise Unusable("is binary, not text")


def _declared(file: BinaryIO, head: bytes) -> Encoding | None:
    match = _DECLARED.search(head)
    if match is None:
        return None
    for codec in codecs_of(match[1].decode("ascii")):
        if not codec.startswith("utf") and _decodes(file, codec):
            return Encoding(codec)
    return None


def _guessed(file: BinaryIO, found: _Scan) -> Encoding:
    name = _guess(file)
    if _LATIN.fullmatch(name) and _is_doubtful(name, found.runs):
        raise Unusable(
            "is neither UTF-8 nor surely of any other encoding. Name its encoding with --encoding, "
            "or convert it to UTF-8"
        )
    for codec in codecs_of(name):
        if _decodes(file, codec):
            return Encoding(codec, note=f"read as {name}, {_OTHERWISE}")
    raise Unusable(
        f"looks like {name}, but is not valid in it. Name its encoding with --encoding, or convert "
        "it to UTF-8"
    )


def _guess(file: BinaryIO) -> str:
    # charset-normalizer names the right encoding for 3 of 4 files of a few hundred bytes, this
    # detector of Firefox's for 98 of 100.
    from chardetng_py.detector import EncodingDetector

    detector = EncodingDetector()
    for block in _blocks(file):
        detector.feed(block, last=False)
    name: str = detector.guess(tld=None, allow_utf8=False)
    return name


def _is_doubtful(name: str, runs: list[bytes]) -> bool:
    """Tell whether these may be characters of two bytes, or are too few to tell one language."""
    high = sum(map(len, runs))
    if high < 4 and name != "windows-1252":
        return True
    [codec, *_] = codecs_of(name)
    # In words, two accented letters side by side are rare, after a capital or sign still rarer, and
    # four in a row are unheard of.
    odd = [
        run
        for run in runs
        if len(run) > 3 or (len(run) > 1 and not run[:1].decode(codec, "replace").islower())
    ]
    return 2 * sum(map(len, odd)) >= high


def _decodes(file: BinaryIO, codec: str, unless: re.Pattern[str] | None = _C1) -> bool:
    """Check that all of a file is valid, and has no characters that texts do not have."""
    try:
        decoder = codecs.getincrementaldecoder(codec)("strict")
        for block in _blocks(file):
            text = decoder.decode(block)
            if unless and unless.search(text):
                return False
        decoder.decode(b"", final=True)
    except (LookupError, ValueError):
        return False
    finally:
        file.seek(0)
    return True
