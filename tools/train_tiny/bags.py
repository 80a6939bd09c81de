"""Word bags: random words as a document, some of them as the query.

Documentation uses few of a language's words, and rarely the names an encyclopedia is full of. Bags
drawn evenly from all words give every token its share of training. Knows no tokens.
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
    """The different words of each language; runs of two to four letters where no spaces are."""
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
    """Draw bags.

    Args:
        words: To draw from, evenly.
        group: Of the pairs.
        count: How many.
        seed: Of the draw.
    """
    chance = random.Random(seed)
    for _ in range(count):
        document = chance.choices(words, k=chance.randint(8, 60))
        asked = chance.sample(document, k=chance.randint(2, 7))
        # Spelling varies: a word opens a sentence or a name, or stands alone.
        query = [w.capitalize() if chance.random() < 0.15 else w for w in asked]
        yield Pair(group, " ".join(query), " ".join(document))
