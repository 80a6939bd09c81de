"""Reduces words to their stem and to its beginning, so that inflected forms share a term.

The rules depend on the script alone, so no language has to be configured.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable
from importlib import import_module

__all__ = ["SNOWBALL", "compiled", "in_python", "stem"]

#: The release of Snowball's algorithms. Both stemmers of a release give the same stems.
SNOWBALL = "3.1"

# Letters that a stem's beginning keeps. Longer endings than a stemmer knows, and those of languages
# without one, lie behind them. Scripts with fewer letters per word need fewer.
_KEPT = 6
_KEPT_ELSEWHERE = 5

_VOWEL_SIGNS = "".join(
    chr(code)
    for code in range(0x0900, 0x0E00)
    if re.search(
        "VOWEL SIGN|ANUSVARA|CANDRABINDU|VISARGA|LENGTH MARK", unicodedata.name(chr(code), "")
    )
    and unicodedata.category(chr(code))[0] == "M"
)


class _Stemmers(threading.local):
    """Stemmers of one thread; a stemmer keeps the current word as its state."""

    def __init__(self) -> None:
        make = _make_stemmer()
        self.latin, self.cyrillic, self.arabic = make("english"), make("russian"), make("arabic")


def _make_stemmer() -> Callable[[str], Callable[[str], str]]:
    """Return what makes a stemmer: PyStemmer, which is compiled, or else snowballstemmer."""
    try:
        import Stemmer
    except ImportError:
        return in_python
    return compiled if Stemmer.version().startswith(f"{SNOWBALL}.") else in_python


def compiled(language: str) -> Callable[[str], str]:
    """Make a stemmer of PyStemmer."""
    import Stemmer

    stem_word: Callable[[str], str] = Stemmer.Stemmer(language, 0).stemWord  # without a cache
    return stem_word


def in_python(language: str) -> Callable[[str], str]:
    """Make a stemmer of snowballstemmer, whose own function would prefer any PyStemmer."""
    module = import_module(f"snowballstemmer.{language}_stemmer")
    stem_word: Callable[[str], str] = getattr(module, f"{language.capitalize()}Stemmer")().stemWord
    return stem_word


_stemmers = _Stemmers()


def stem(word: str) -> tuple[str, str]:
    """Return the stem of a word, and the beginning that it shares with other forms of the word.

    Args:
        word: One of its `spellings`.
    """
    first = word[0]
    if first < "\u0250" or "\u0400" <= first <= "\u052f" or "\u0600" <= first <= "\u06ff":
        if not word.isalpha():
            return word, word
        if first < "\u0250":
            stemmed = _stemmers.latin(word) if word.isascii() else word
        else:
            stemmed = (_stemmers.cyrillic if first < "\u0600" else _stemmers.arabic)(word)
        return stemmed, stemmed[:_KEPT]
    if "\u0900" <= first <= "\u0dff":
        return _without_ending(word), _without_ending(word[:_KEPT_ELSEWHERE])
    return word, word[:_KEPT_ELSEWHERE]


def _without_ending(word: str) -> str:
    """Remove the last vowel signs of an Indic word, which carry case, number and gender."""
    bare = word.rstrip(_VOWEL_SIGNS)
    return bare if len(bare) > 1 else word
