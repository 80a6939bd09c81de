"""Text to terms: words, identifiers whole and in parts, pairs where a script has no spaces.

Knows where terms begin and end in any script; knows nothing of counts, weights or stores. A
term is made of letters, digits, marks and `_` alone: no space and no punctuation that a store's
own analyzer could split at.
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

_LONGEST = 128  # characters of a term, as many as SHA-512 in hex; what is longer is data, not text
_CACHED = 64  # longer segments are too rare to meet again

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

# Joiners hold an identifier together: `snake_case`, `3.11.2`, `U-20`, `don't`, 12,000, and the
# zero-width non-joiner inside Persian words.
_JOINER = r"_+|[.\-'\u2019\u200c\u2010\u2011]|(?<=\d),(?=\d{3}(?!\d))"
_WORD = rf"[^\W_{_PAIRED}](?:[^\W_{_PAIRED}]|(?![{_PAIRED}])[{_MARKS}])*"
_SEGMENT = re.compile(
    rf"[{_HAN_KANA}]+|[{_HANGUL}]+|[{_UNSPACED}]+|{_WORD}(?:(?:{_JOINER}){_WORD})*"
)
_JOINERS = re.compile(rf"({_JOINER})")
_CAMEL_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^A-Z]+|[A-Z]+")  # HTTP|Server, max|Len

# One written syllable: a letter with its marks, the vowel Thai and Lao write before it and the one
# after it, Khmer's subscript letters, and the letter that closes a Myanmar syllable.
_SYLLABLE = re.compile(
    rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?[^{_MARKS}\u0e40-\u0e44\u0ec0-\u0ec4]"
    rf"(?:[{_MARKS}]|(?<=\u17d2)[\u1780-\u17b3])*[\u0e30\u0e32\u0e45\u0eb0\u0eb2]?"
    rf"(?:[\u1000-\u1021][\u1039\u103a][{_MARKS}]*)*|."
)

_FIRST_PAIRED = "\u0e01"
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")

# Characters that only steer layout go; the zero-width space separates words.
_INVISIBLE: dict[int, str | None] = dict.fromkeys(
    (0xAD, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
)
_INVISIBLE |= dict.fromkeys((*range(0xFE00, 0xFE10), *range(0x180B, 0x180E), 0x20E3))
_INVISIBLE[0x200B] = " "

_PLUS_PLUS = re.compile(r"(?<=[^\W_])\+\+(?!\+)(?=([^\W_])?)")
_SHARP = re.compile(r"(?<!\w)([A-Za-z])[#♯](?![\w#])")


def tokens(text: str) -> list[str]:
    """Split `text` into terms, in reading order, repeats kept.

    A document and a query give the same terms for the same words, so this is also what a store
    with a BM25 of its own is given: the terms joined by spaces.

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
    """Cut `text` into runs of one kind each: a word or identifier, or unspaced script."""
    if not isinstance(text, str):
        raise InputTypeError(f"The text to tokenize must be a str, got {type(text).__name__}.")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
    # The two names that live by their punctuation; "C++20" keeps its "20" as a part of its own.
    if "++" in text:
        text = _PLUS_PLUS.sub(lambda found: "plusplus-" if found[1] else "plusplus", text)
    if "#" in text or "♯" in text:
        text = _SHARP.sub(r"\1sharp", text)
    return _SEGMENT.findall(text)


def terms(segment: str) -> tuple[str, ...]:
    """Turn one of `segments` into its terms, each once unless the script is written unspaced."""
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
    """A word's term; for an identifier its whole, each dotted name, each piece and its parts."""
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
    """Close the gaps, so that `http_client`, `http-client` and `HttpClient` are one term.

    Between digits the gap stays, as `_`: version 1.23 is not 12.3. A comma there only groups.
    """
    whole, *rest = _JOINERS.split(name)  # pieces alternating with the joiners between them
    for joiner, piece in zip(rest[::2], rest[1::2], strict=True):
        digits = whole[-1].isdecimal() and piece[0].isdecimal()
        whole += "_" + piece if digits and joiner != "," else piece
    return whole
