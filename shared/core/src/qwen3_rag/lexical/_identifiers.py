"""Finds the names in an identifier, a number or a version: the whole, its tails and its parts."""

from __future__ import annotations

import re
from itertools import accumulate

__all__ = ["JOINER", "LONGEST", "is_plain", "parts", "wholes"]

LONGEST = 128  # characters of a name, as in a SHA-512 hex digest; longer ones are data, not text

# What joins the parts of an identifier or number: `snake_case`, `3.11.2`, `U-20`, `don't`, 12,000,
# and the zero-width non-joiner in Persian words.
JOINER = r"_+|[.\-'\u2019\u200c\u2010\u2011]|(?<=\d),(?=(?:\d\d,){0,9}\d{3}(?!\d))"
_JOINERS = re.compile(rf"({JOINER})")
_COMPOUND = re.compile(r"[\d_.,\-'\u2019\u200c\u2010\u2011]|(?<=.)[A-Z]")
_GROUPING = frozenset(",'\u2019")  # between digits; a full stop may also group them
_GROUPED_BY_STOPS = re.compile(r"\d{1,3}(?:\.\d{3})+")

_CHUNKS = re.compile(r"\d+|[^\d]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^A-Z]+|[A-Z]+")  # HTTP|Server, max|Len
_MANY = 12  # chunks of a piece; more are encoded data

_V_OF_VERSION = re.compile(r"(?<![^\W_])[vV](?=\d)")
# Also in `torch-2.13.0`; not the decimals of 12,345.67.
_NUMBERS = re.compile(r"(?<![\d.,'\u2019])\d+(?:\.\d+){1,5}")
_HEX_PREFIX = re.compile(r"(?<![^\W_])0[xX](?=[0-9A-Fa-f]+$)")
_HASH = re.compile(r"(?=.*\d)(?=.*[A-Fa-f])(?:[0-9a-f]{7,}|[0-9A-F]{7,})")
_SHORT_HASH = 7  # digits, as git abbreviates
_TAILS = 6  # names of a dotted name whose tails are found


def is_plain(word: str) -> bool:
    """Return whether a word has no joiner, no digit and no capital letter inside."""
    if word.islower() and word.isalpha():  # most words
        return True
    return not _COMPOUND.search(word.lower() if word.isupper() else word)


def wholes(word: str) -> list[str]:
    """Return the names that a word is as a whole, and those of its tails and beginnings.

    Joiners are removed, so that `http_client`, `http-client` and `HttpClient` are one name.
    """
    bare = _V_OF_VERSION.sub("", _HEX_PREFIX.sub("", word))
    found = [_joined(bare)]
    if _GROUPED_BY_STOPS.fullmatch(bare):
        found.append(bare.replace(".", ""))
    names = bare.split(".")
    for numbers in _NUMBERS.findall(bare):
        found += list(accumulate(numbers.split("."), "{}_{}".format))[1:]
    if 2 < len(names) <= _TAILS:
        found += [
            _joined(".".join(names[start:]))
            for start in range(1, len(names) - 1)
            if not names[start][0].isdecimal()  # 1.4 is not the end of version 2.1.4
        ]
    if len(names) > 1:
        found += map(_joined, names)
    return [name for name in dict.fromkeys(found) if 0 < len(name) <= LONGEST]


def parts(word: str) -> list[str]:
    """Return the parts between joiners, between letters and digits, and of camel case."""
    found: list[str] = []
    for piece in _JOINERS.split(_HEX_PREFIX.sub("", word))[::2]:
        if _HASH.fullmatch(piece):
            found += (piece, piece[:_SHORT_HASH])
            continue
        found.append(piece)
        chunks = _CHUNKS.findall(_V_OF_VERSION.sub("", piece))
        if len(chunks) > _MANY or len(piece) > LONGEST:
            continue
        for chunk in chunks:
            found.append(chunk)
            if not (chunk.islower() or chunk.isupper()):
                found += _CAMEL.findall(chunk)
    return [name for name in dict.fromkeys(found) if 0 < len(name) <= LONGEST]


def _joined(name: str) -> str:
    """Remove joiners; between digits they become `_`, since version 1.23 is not 12.3.

    What groups digits is removed between them, too.
    """
    joined, *rest = _JOINERS.split(name)  # pieces alternating with the joiners between them
    for joiner, piece in zip(rest[::2], rest[1::2], strict=True):
        digits = joined[-1:].isdecimal() and piece[:1].isdecimal()
        joined += "_" + piece if digits and joiner not in _GROUPING else piece
    return joined
