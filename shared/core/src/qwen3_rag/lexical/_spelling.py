"""Maps the spellings of a word to one or two: case, accents, digits and letter variants."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["spellings"]

# Marks that people often leave out: accents of Latin, Greek and Cyrillic letters, Hebrew points,
# Arabic vowels, hamza carriers and the tatweel. Marks of Indic and other scripts are part of the
# spelling and are kept.
_OPTIONAL_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2"
    "\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)
# Latin, Greek, Cyrillic, Hebrew and Arabic letters and their marks.
_MARKED = (*range(0x80, 0x530), *range(0x590, 0x700), *range(0x1E00, 0x2000))


def _bare(letter: str) -> str:
    if letter in "йЙ":  # a letter of its own
        return letter
    return unicodedata.normalize(
        "NFC", _OPTIONAL_MARKS.sub("", unicodedata.normalize("NFKD", letter))
    )


_TO_BASE = str.maketrans(
    {chr(code): _bare(chr(code)) for code in _MARKED if _bare(chr(code)) != chr(code)}
    | {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe"}
    | {"ى": "ي", "ی": "ي", "ک": "ك"}  # final yeh; Persian yeh and keheh
    # Decimal digits of all scripts, which NFKC does not convert.
    | {
        chr(code): str(unicodedata.decimal(chr(code)))
        for code in range(0x80, 0x20000)
        if chr(code).isdecimal()
    }
)
# How German and the Nordic languages write these letters where a keyboard lacks them.
_RESPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_IS_RESPELLED = re.compile("[äöüåø]")

# A Vietnamese syllable with tone or vowel marks, in NFC: without them, it is another word.
_VIETNAMESE = re.compile(
    "(?:ngh?|[cgknpt]h|gi|qu|tr|[bcdđghklmnprstvx])?"
    "[aeiouyăâêôơưàằầèềìòồờùừỳảẳẩẻểỉỏổởủửỷãẵẫẽễĩõỗỡũữỹáắấéếíóốớúứýạặậẹệịọộợụựỵ]{1,3}"
    "(?:ch|ng|nh|[cmnpt])?"
)


def spellings(word: str) -> tuple[str, ...]:
    """Return the spellings of a word, the one without optional marks first.

    Args:
        word: Letters, digits and marks of one word, in NFKC. It has no spelling if all of them are
            optional marks.
    """
    folded = word.casefold()
    if folded.isascii():
        return (folded,)
    bare = folded.translate(_TO_BASE)
    if not bare.isascii() or not bare:
        return (bare,) if bare else ()
    if _IS_RESPELLED.search(folded):
        return bare, folded.translate(_RESPELLED).translate(_TO_BASE)
    if _VIETNAMESE.fullmatch(folded):
        return bare, folded
    return (bare,)
