"""Splits text into terms: words, identifiers and their parts, pairs in scripts without spaces.

Terms consist of letters, digits, marks and `_`, so that no store's own analyzer splits them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise

from qwen3_rag.errors import InputTypeError
from qwen3_rag.lexical._chinese import SIMPLIFIED
from qwen3_rag.lexical._identifiers import JOINER, LONGEST, is_plain, parts, wholes
from qwen3_rag.lexical._spelling import spellings
from qwen3_rag.lexical._stems import stem

__all__ = [
    "HANGUL",
    "HAN_KANA",
    "document_terms",
    "is_unspaced",
    "normalise",
    "query_terms",
    "runs",
    "segments",
    "tokens",
    "units",
    "words",
]

# The weight of a whole stem in a query, beside that of its beginning. Documents with the same stem
# come first, and those with another form of the word are found.
_STEM_WEIGHT = 0.25


def _ranges(characters: Iterable[int]) -> str:
    """Return the ranges of ascending code points for a class of `re`."""
    found: list[list[int]] = []
    for code in characters:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(rf"\u{first:04x}-\u{last:04x}" for first, last in found)


_MARKS = _ranges(code for code in range(0x10000) if unicodedata.category(chr(code))[0] == "M")
HANGUL = "\u1100-\u11ff\uac00-\ud7a3"
HAN_KANA = (
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Thai, Lao, Myanmar and Khmer letters and marks, without their digits and punctuation.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf"
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\u1780-\u17d3\u17d7\u17dc\u17dd"
)
_PAIRED = HANGUL + HAN_KANA + _UNSPACED


def _whole_words(first: str, following: str) -> str:
    word = f"{first}{following}*"
    return f"{word}(?:(?:{JOINER}){word})*"


_LETTER = rf"[^\W_{_PAIRED}]"  # or a digit
_LETTER_OR_MARK = rf"(?:{_LETTER}|(?![{_PAIRED}])[{_MARKS}])"
_ANY_WORDS = _whole_words(_LETTER, _LETTER_OR_MARK)
_RUNS = re.compile(f"[{HAN_KANA}]+|[{HANGUL}]+")
_SEGMENT = re.compile(f"{_RUNS.pattern}|[{_UNSPACED}]+|{_ANY_WORDS}")

# All segments but runs of Han, kana and Hangul.
_WORDS = f"[{_UNSPACED}]+|{_ANY_WORDS}"

# One written syllable: a letter with its marks, Thai and Lao vowels before and after it, Khmer
# subscript letters, and the final letter of a Myanmar syllable.
_SYLLABLE = re.compile(
    rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?[^{_MARKS}\u0e40-\u0e44\u0ec0-\u0ec4]"
    rf"(?:[{_MARKS}]|(?<=\u17d2)[\u1780-\u17b3])*[\u0e30\u0e32\u0e45\u0eb0\u0eb2]?"
    rf"(?:[\u1000-\u1021][\u1039\u103a][{_MARKS}]*)*|."
)

_FIRST_UNSPACED = "\u0e01"
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")

# Python sorts the marks of a letter in a time that grows with their square. No word has more than
# these, the limit of Unicode's Stream-Safe Text Format.
_MOVING_MARKS = _ranges(code for code in range(0x10000) if unicodedata.combining(chr(code)))
_MANY_MARKS = re.compile(f"([{_MOVING_MARKS}]{{30}})[{_MOVING_MARKS}]+")

# Characters that only affect layout are removed, except that a zero-width space separates words.
_INVISIBLE: dict[int, str | None] = dict.fromkeys(
    (0xAD, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
)
_INVISIBLE |= dict.fromkeys((*range(0xFE00, 0xFE10), *range(0x180B, 0x180E), 0x20E3))
_INVISIBLE[0x200B] = " "
_HAS_INVISIBLE = re.compile("[" + "".join(map(chr, _INVISIBLE)) + "]")

# Names that differ by punctuation alone: C++ and C#.
_PLUS_PLUS = re.compile(r"\+\+(?<=[^\W_]\+\+)(?!\+)([^\W_]?)")
_SHARP = re.compile(r"[#♯](?<=(?<!\w)[A-Za-z].)(?![\w#])")

# The slash of I/O, R&D and OS/2, and the spaces of 12 000 000. The patterns begin with these
# characters, which makes them ten times as fast as with the letters or digits before.
_SLASH = re.compile(
    "[/&](?:" + "|".join(rf"(?<=(?<![\w/&.@-])[^\W\d_]{{{n}}}.)" for n in range(1, 5)) + ")"
    r"(?=(?:[^\W\d_]{1,4}|\d{1,3})(?!\.?[\w/&]))"
)
_GROUPING_SPACE = re.compile(
    " (?:" + "|".join(rf"(?<=(?<![\w.,])\d{{{n}}} )" for n in range(1, 4)) + r")(?=\d{3}(?!\w))"
)


def tokens(text: str) -> list[str]:
    """Split `text` into the terms of a document, in order and with repeats.

    A store that computes BM25 itself is given these terms, joined by spaces. A query has fewer: see
    `BM25Encoder.query_terms`.

    Args:
        text: Any text in any mix of languages.

    Raises:
        InputTypeError: `text` is not a string.

    Example:
        >>> tokens("Tokenizers in C++: use max_length")
        ['token', 'in', 'cplusp', 'cplusplus', 'use', 'maxlength', 'max', 'length']
        >>> tokens("검색은 搜索引擎")
        ['검색', '색은', '검', '색', '은', '搜索', '索引', '引擎', '搜', '索', '引', '擎']
    """
    return [term for segment in segments(text) for term in document_terms(segment)]


def segments(text: str) -> list[str]:
    """Split `text` into segments: a word, an identifier, or a run of a script without spaces."""
    return _SEGMENT.findall(normalise(text))


def words(normalised: str, of_16_bits: bool) -> list[str]:
    """Return the segments of a normalised text, except runs of Han, kana and Hangul.

    Args:
        normalised: The text, from `normalise`.
        of_16_bits: Whether letters and digits beyond U+FFFF can be ignored, which is faster.
    """
    return _words_of_16_bits().findall(normalised) if of_16_bits else re.findall(_WORDS, normalised)


@cache
def _words_of_16_bits() -> re.Pattern[str]:
    """Compile `_WORDS` for 16-bit characters. It finds them in a quarter of the time.

    `re` checks a class of ranges with one lookup, and the letters of Unicode one range at a time.
    It takes 40 ms, which a query need not wait for.
    """
    every = "".join(map(chr, range(0x10000)))

    def ranges(pattern: str) -> str:
        return _ranges(found.start() for found in re.finditer(pattern, every))

    words = _whole_words(f"[{ranges(_LETTER)}]", f"[{ranges(_LETTER_OR_MARK)}]")
    return re.compile(f"[{_UNSPACED}]+|{words}")


def runs(normalised: str) -> list[str]:
    """Return the runs of Han, kana and Hangul in a normalised text."""
    return _RUNS.findall(normalised)


def normalise(text: str) -> str:
    """Unify the characters of a text, and the punctuation inside names and numbers."""
    if not isinstance(text, str):
        raise InputTypeError(f"The text to tokenize must be a str, got {type(text).__name__}.")
    if not text.isascii():
        text = _MANY_MARKS.sub(r"\1", text)
        text = unicodedata.normalize("NFKC", text)
        if _HAS_INVISIBLE.search(text):
            text = text.translate(_INVISIBLE)
    if "++" in text:  # "C++20" keeps "20" as a part of its own
        text = _PLUS_PLUS.sub(lambda found: f"plusplus{'-' * bool(found[1])}{found[1]}", text)
    if "#" in text or "♯" in text:
        text = _SHARP.sub("sharp", text)
    if "/" in text or "&" in text:
        text = _SLASH.sub("-", text)
    return _GROUPING_SPACE.sub("'", text)


def is_run(segment: str) -> bool:
    """Return whether a segment is a run of a script without spaces."""
    return segment >= _FIRST_UNSPACED and _IS_PAIRED.match(segment) is not None


def is_unspaced(segment: str) -> bool:
    """Return whether a segment is a run of Thai, Lao, Myanmar or Khmer."""
    return segment >= _FIRST_UNSPACED and _IS_UNSPACED.match(segment) is not None


def units(run: str) -> Sequence[str]:
    """Split a run into its syllables, or into its characters, simplified."""
    return _SYLLABLE.findall(run) if is_unspaced(run) else run.translate(SIMPLIFIED)


def document_terms(segment: str) -> Sequence[str]:
    """Return the terms of a segment of a document. Only those of a run may repeat.

    Documents contain the single characters of a run beside its pairs, for queries of one character:
    Korean nouns of one syllable and Chinese words of one character are everyday words.
    """
    if is_run(segment):
        single = units(segment)
        return [*_pairs(single), *single]
    return _plain_terms(segment) or tuple(_word_terms(segment))


def query_terms(segment: str) -> Mapping[str, float]:
    """Return the terms of a segment of a query, with their weights."""
    if is_run(segment):
        single = units(segment)
        return Counter(_pairs(single) or single)
    if plain := _plain_terms(segment):
        return dict(zip(plain, (1.0, _STEM_WEIGHT), strict=False))
    return {term: weight for term, weight in _word_terms(segment).items() if weight}


def _pairs(units: Sequence[str]) -> list[str]:
    return [a + b for a, b in pairwise(units)]


def _plain_terms(word: str) -> tuple[str, ...]:
    """Return the beginning and the stem of a plain word of one spelling: of most words, at once.

    The two may be equal. Nothing is returned for any other word.
    """
    if len(word) > LONGEST or not is_plain(word):
        return ()
    forms = spellings(word)
    if len(forms) != 1:
        return ()
    stemmed, start = stem(forms[0])
    return (start,) if start == stemmed else (start, stemmed)


def _word_terms(word: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    plain = is_plain(word)
    names = () if plain else dict.fromkeys(wholes(word))  # ordered, and found at once
    for name in names:
        forms = spellings(name)
        for form in forms:
            stemmed, start = stem(form)
            weights[stemmed] = 1 / len(forms)
            weights.setdefault(start, 0.0)  # for queries where the name is in lower case
    for part in [word] if plain else parts(word):
        if part in names or len(part) > LONGEST:
            continue
        forms = spellings(part)
        shares: dict[str, float] = {}  # two spellings may have one beginning
        for form in forms:
            stemmed, start = stem(form)
            shares[start] = shares.get(start, 0.0) + 1 / len(forms)
            if start != stemmed:
                shares[stemmed] = shares.get(stemmed, 0.0) + _STEM_WEIGHT / len(forms)
        for term, weight in shares.items():
            weights[term] = max(weight, weights.get(term, 0.0))
    return weights
