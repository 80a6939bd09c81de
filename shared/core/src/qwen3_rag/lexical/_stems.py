"""Normalises words: accents, digits, letter variants and inflections.

The stemmer is chosen by script, so no language has to be configured.
"""

from __future__ import annotations

import re
import threading
import unicodedata

from snowballstemmer.arabic_stemmer import ArabicStemmer
from snowballstemmer.english_stemmer import EnglishStemmer
from snowballstemmer.russian_stemmer import RussianStemmer

__all__ = ["normal_form"]

# Marks that people often leave out: accents of Latin, Greek and Cyrillic letters (but not the breve
# of Cyrillic "й", which is a letter of its own), Hebrew points, Arabic vowels, hamza carriers and
# the tatweel. Marks of Indic and other scripts are part of the spelling and are kept.
_OPTIONAL_MARKS = re.compile(
    "(?:(?<!и)\u0306|[\u0300-\u0305\u0307-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2"
    "\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed])+"
)

# Vietnamese marks are tones: without them, a word becomes a different one.
_VIETNAMESE = re.compile("[\u1ea0-\u1ef9ơư]")

_VARIANTS = {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe"}
_VARIANTS |= {"ى": "ي", "ی": "ي", "ک": "ك"}  # final yeh; Persian yeh and keheh
# Decimal digits of all scripts to ASCII, which NFKC does not convert.
_DIGITS = {
    chr(code): str(unicodedata.decimal(chr(code)))
    for code in range(0x80, 0x20000)
    if chr(code).isdecimal()
}
_SPELLING = str.maketrans(_VARIANTS | _DIGITS)


class _Stemmers(threading.local):
    """Stemmers of one thread; a stemmer keeps the current word as its state.

    The classes are imported by name, because `snowballstemmer.stemmer()` prefers the package
    PyStemmer if it is installed, and its version may differ.
    """

    def __init__(self) -> None:
        self.latin = EnglishStemmer()
        self.cyrillic = RussianStemmer()
        self.arabic = ArabicStemmer()


_stemmers = _Stemmers()


def normal_form(word: str) -> str:
    """Map the spellings and inflections of a word to one term.

    Args:
        word: Letters, digits and marks of one word, in NFKC. The result is empty if all of them are
            optional marks.
    """
    folded = word.casefold()
    if not folded.isascii():
        if not _VIETNAMESE.search(folded):
            bare = _OPTIONAL_MARKS.sub("", unicodedata.normalize("NFKD", folded))
            folded = unicodedata.normalize("NFC", bare)
        folded = folded.translate(_SPELLING)
    if not folded.isalpha():
        return folded
    if folded.isascii():
        stem = _stemmers.latin.stemWord(folded)
    elif "\u0400" <= folded[0] <= "\u04ff":
        stem = _stemmers.cyrillic.stemWord(folded)
    elif "\u0600" <= folded[0] <= "\u06ff":
        stem = _stemmers.arabic.stemWord(folded)
    else:
        return folded
    return str(stem)
