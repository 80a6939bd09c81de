"""The indices of a text's terms in a sparse vector.

An index is the CRC-32 of the term's UTF-8 bytes, modulo 2^32 - 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.lexical._chinese import SIMPLIFIED
from qwen3_rag.lexical._tokenizer import (
    HAN_KANA,
    HANGUL,
    document_terms,
    is_unspaced,
    normalise,
    runs,
    units,
    words,
)

__all__ = ["document_indices", "term_index"]

_INDEX_SPACE = 2**32 - 1  # Milvus takes indices below 2^32 - 1, Qdrant any uint32
_CACHED = 64  # characters; longer words rarely occur again


def term_index(term: str) -> int:
    """Hash a term to its index.

    It is the same on every platform and can be computed in any language with zlib.
    """
    return crc32(term.encode()) % _INDEX_SPACE


def document_indices(text: str) -> NDArray[np.uint32]:
    """Return the index of each of a document's `tokens`, in another order."""
    text = normalise(text)
    if text.isascii():
        return _of_words(words(text, of_16_bits=True))
    codes = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    scripts = _tables().script[codes]
    if (scripts == _RARE).any():
        found = words(text, of_16_bits=False)
        terms = [term for run in runs(text) for term in document_terms(run)]
        of_runs = np.array([term_index(term) for term in terms], dtype=np.uint32)
    else:
        found = words(text, of_16_bits=True)
        of_runs = _of_runs(codes, scripts)
    return np.concatenate([_of_words(found), of_runs])


def _of_words(found: Sequence[str]) -> NDArray[np.uint32]:
    known = [word for word in found if len(word) <= _CACHED]
    indices = [*chain.from_iterable(map(_cached_word, known))]
    if len(known) < len(found):
        indices += chain.from_iterable(_word(word) for word in found if len(word) > _CACHED)
    return np.array(indices, dtype=np.uint32)


def _word(word: str) -> tuple[int, ...]:
    if not is_unspaced(word):
        return tuple([crc32(term.encode()) % _INDEX_SPACE for term in document_terms(word)])
    coded = [syllable.encode() for syllable in units(word)]
    alone = [crc32(syllable) for syllable in coded]
    pairs = [crc32(after, before) for before, after in zip(alone, coded[1:], strict=False)]
    return tuple([checksum % _INDEX_SPACE for checksum in alone + pairs])


_cached_word = lru_cache(maxsize=1 << 16)(_word)


def _of_runs(codes: NDArray[np.uint16], scripts: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Hash the pairs and single characters of all runs in a text at once."""
    tables = _tables()
    within = scripts > 0
    paired = (within[1:] & (scripts[1:] == scripts[:-1])).nonzero()[0]
    codes = tables.simplified[codes]
    pairs = tables.before[codes[paired]] ^ tables.alone[codes[paired + 1]]
    return np.concatenate([pairs, tables.alone[codes[within]]]) % np.uint32(_INDEX_SPACE)


_HAN_KANA, _HANGUL, _RARE = 1, 2, 3


class _Tables:
    """What is known of each code unit of UTF-16, for the characters of runs.

    Attributes:
        script: `_HAN_KANA` or `_HANGUL` for characters of runs. `_RARE` for the first half of a
            character beyond 16 bits, except the blocks of emoji, which have no letters. 0 for
            others.
        simplified: The simplified form of the character.
        alone: CRC-32 of the character's three bytes in UTF-8.
        before: The same, moved on by three more bytes. The CRC-32 of two strings in a row is that
            of the first, moved on by the length of the second, XOR that of the second
            (`crc32_combine` of zlib).
    """

    def __init__(self) -> None:
        codes = np.arange(2**16, dtype=np.uint32)
        self.script = np.zeros(2**16, dtype=np.uint8)
        every = "".join(map(chr, range(2**16)))
        for script, characters in (
            (_HAN_KANA, HAN_KANA),
            (_HANGUL, HANGUL),
            (_RARE, "\ud800-\ud83b\ud83f-\udbff"),
        ):
            for found in re.finditer(f"[{characters}]+", every):
                self.script[found.start() : found.end()] = script
        self.simplified = codes.astype(np.uint16)
        self.simplified[list(SIMPLIFIED)] = list(SIMPLIFIED.values())

        step = np.arange(256, dtype=np.uint32)
        for _ in range(8):
            step = np.where(step & 1, (step >> 1) ^ np.uint32(0xEDB88320), step >> 1)
        state = np.full(2**16, 0xFFFFFFFF, dtype=np.uint32)
        for byte in (0xE0 | codes >> 12, 0x80 | codes >> 6 & 0x3F, 0x80 | codes & 0x3F):
            state = step[(state ^ byte) & 0xFF] ^ (state >> 8)
        self.alone = state ^ np.uint32(0xFFFFFFFF)
        self.before = self.alone
        for _ in range(3):
            self.before = step[self.before & 0xFF] ^ (self.before >> 8)


_tables = cache(_Tables)
