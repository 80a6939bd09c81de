"""Word bags: documents of random words, with some of the words as the query.

Documentation uses a small part of a language's vocabulary and few proper names. Bags drawn
uniformly from all words make sure that every token is trained.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tools.train_tiny.pairs import Pair
from tools.train_tiny.text import Section

__all__ = ["word_bags", "words_by_language"]

_WORD = re.compile(r"[^\W\d_]{2,}")
_UNSPACED = re.compile(r"[぀-ヿ一-鿿฀-๿က-႟]{2,}")

_FEWEST_WORDS = 500


def words_by_language(sections: Sequence[Section]) -> dict[str, list[str]]:
    """Collect the words of each language; pieces of two to four letters for unspaced scripts."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for section in sections:
        text = section.body[:600]
        counts[section.language].update(_WORD.findall(text))
        for run in _UNSPACED.findall(text):
            size = 2 + len(run) % 3
            counts[section.language].update(
                run[start : start + size] for start in range(0, len(run) - 1, size)
            )
    found = {
        language: sorted(word for word, seen in counter.items() if seen > 1 and len(word) < 25)
        for language, counter in counts.items()
    }
    return {language: words for language, words in found.items() if len(words) >= _FEWEST_WORDS}


def word_bags(words: Sequence[str], group: str, count: int, seed: int) -> Iterator[Pair]:
    """Draw word bags.

    Args:
        words: Words to draw from, uniformly.
        group: Group of the pairs.
        count: Number of pairs.
        seed: Random seed.
    """
    rng = random.Random(seed)
    for _ in range(count):
        document = rng.choices(words, k=rng.randint(8, 60))
        chosen = rng.sample(document, k=rng.randint(2, 7))
        # Capitalise some words, as at the start of a sentence.
        query = [w.capitalize() if rng.random() < 0.15 else w for w in chosen]
        yield Pair(group, " ".join(query), " ".join(document))
