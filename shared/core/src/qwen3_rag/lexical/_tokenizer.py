"""Splits text into terms: words, identifiers and their parts, pairs in scripts without spaces.

Terms consist of letters, digits, marks and `_`, so that no store's own analyzer splits them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

from qwen3_rag.errors import InputTypeError
from qwen3_rag.lexical._stems import normal_form

__all__ = ["segments", "terms", "tokens"]

_LONGEST = 128  # characters of a term, as in a SHA-512 hex digest; longer ones are data, not text
_CACHED = 64  # characters; longer segments rarely occur again

_MARKS = "".join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code))[0] == "M")
_HANGUL = "\u1100-\u11ff\uac00-\ud7a3"
_HAN_KANA = (
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Thai, Lao, Myanmar and Khmer letters and marks, without their digits and punctuation.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf"
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\u1780-\u17d3\u17d7\u17dc\u17dd"
)
_PAIRED = _HANGUL + _HAN_KANA + _UNSPACED

# What joins the parts of an identifier or number: `snake_case`, `3.11.2`, `U-20`, `don't`, 12,000,
# and the zero-width non-joiner in Persian words.
_JOINER = r"_+|[.\-'\u2019\u200c\u2010\u2011]|(?<=\d),(?=\d{3}(?!\d))"
_WORD = rf"[^\W_{_PAIRED}](?:[^\W_{_PAIRED}]|(?![{_PAIRED}])[{_MARKS}])*"
_SEGMENT = re.compile(
    rf"[{_HAN_KANA}]+|[{_HANGUL}]+|[{_UNSPACED}]+|{_WORD}(?:(?:{_JOINER}){_WORD})*"
)
_JOINERS = re.compile(rf"({_JOINER})")
_CAMEL_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^A-Z]+|[A-Z]+")  # HTTP|Server, max|Len

# One written syllable: a letter with its marks, Thai and Lao vowels before and after it, Khmer
# subscript letters, and the final letter of a Myanmar syllable.
_SYLLABLE = re.compile(
    rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?[^{_MARKS}\u0e40-\u0e44\u0ec0-\u0ec4]"
    rf"(?:[{_MARKS}]|(?<=\u17d2)[\u1780-\u17b3])*[\u0e30\u0e32\u0e45\u0eb0\u0eb2]?"
    rf"(?:[\u1000-\u1021][\u1039\u103a][{_MARKS}]*)*|."
)

_FIRST_PAIRED = "\u0e01"
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")

# Characters that only affect layout are removed, except that a zero-width space separates words.
_INVISIBLE: dict[int, str | None] = dict.fromkeys(
    (0xAD, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
)
_INVISIBLE |= dict.fromkeys((*range(0xFE00, 0xFE10), *range(0x180B, 0x180E), 0x20E3))
_INVISIBLE[0x200B] = " "

_PLUS_PLUS = re.compile(r"(?<=[^\W_])\+\+(?!\+)(?=([^\W_])?)")
_SHARP = re.compile(r"(?<!\w)([A-Za-z])[#♯](?![\w#])")


def tokens(text: str) -> list[str]:
    """Split `text` into terms, in order and with repeats.

    Documents and queries give the same terms for the same words. A store that computes BM25 itself
    is given these terms, joined by spaces.

    Args:
        text: Any text in any mix of languages.

    Raises:
        InputTypeError: `text` is not a string.

    Example:
        >>> tokens("Tokenizers in C++: use max_length")
        ['token', 'in', 'cplusplus', 'use', 'maxlength', 'max', 'length']
        >>> tokens("검색은 搜索引擎")
        ['검색', '색은', '搜索', '索引', '引擎']
    """
    return [term for segment in segments(text) for term in terms(segment)]


def segments(text: str) -> list[str]:
    """Split `text` into segments: a word, an identifier, or a run of a script without spaces."""
    if not isinstance(text, str):
        raise InputTypeError(f"The text to tokenize must be a str, got {type(text).__name__}.")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
    # Names that differ by punctuation alone: C++ and C#. "C++20" keeps "20" as a separate part.
    if "++" in text:
        text = _PLUS_PLUS.sub(lambda found: "plusplus-" if found[1] else "plusplus", text)
    if "#" in text or "♯" in text:
        text = _SHARP.sub(r"\1sharp", text)
    return _SEGMENT.findall(text)


def terms(segment: str) -> tuple[str, ...]:
    """Split a segment into terms. Only character pairs of a script without spaces may repeat."""
    return cached_terms(segment) if len(segment) <= _CACHED else _terms(segment)


@lru_cache(maxsize=1 << 16)
def cached_terms(segment: str) -> tuple[str, ...]:
    return _terms(segment)


def _terms(segment: str) -> tuple[str, ...]:
    if segment[0] < _FIRST_PAIRED or not _IS_PAIRED.match(segment):
        return _word_terms(segment)
    if _IS_UNSPACED.match(segment):
        return _pairs(_SYLLABLE.findall(segment))
    return _pairs(segment)


def _pairs(units: Iterable[str]) -> tuple[str, ...]:
    units = tuple(units)
    return tuple(a + b for a, b in pairwise(units)) if len(units) > 1 else units


def _word_terms(word: str) -> tuple[str, ...]:
    """Return a word's term; for an identifier, the whole, each dotted name and all their parts."""
    found = [_whole(word)]
    for name in word.split("."):
        found.append(_whole(name))
        for piece in _JOINERS.split(name)[::2]:
            found += (piece, *_parts(piece))
    kept = (normal_form(term) for term in dict.fromkeys(found) if len(term) <= _LONGEST)
    return tuple(term for term in dict.fromkeys(kept) if term)


def _parts(piece: str) -> list[str]:
    if piece.islower() or piece.isupper() or len(piece) > _LONGEST:
        return []
    return _CAMEL_PARTS.findall(piece)


def _whole(name: str) -> str:
    """Remove joiners, so that `http_client`, `http-client` and `HttpClient` are one term.

    Between digits they become `_`, since version 1.23 is not 12.3, except for a comma, which groups
    digits.
    """
    whole, *rest = _JOINERS.split(name)  # pieces alternating with the joiners between them
    for joiner, piece in zip(rest[::2], rest[1::2], strict=True):
        digits = whole[-1].isdecimal() and piece[0].isdecimal()
        whole += "_" + piece if digits and joiner != "," else piece
    return whole
