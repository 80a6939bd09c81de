"""Pages cut into passages of the size of an index's chunks, with queries for each passage.

A reranker trained on short texts only misjudges long chunks.
"""

# ruff: noqa: RUF001  # full-width question marks
from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tools.train_tiny.pairs import Pair, heading_query, thinned
from tools.train_tiny.text import Section, sentences

__all__ = ["as_question", "passage_pairs"]

# In UTF-8 bytes. A token has four to five in any language, so a passage has up to 384 tokens.
_SIZES = (400, 800, 1_200, 1_600, 1_600)
_SHORTEST = 150
_LONGEST_QUERY = 160

# Probability that a passage contains its headings, and that it contains the query's sentence.
_WITH_HEADINGS, _WITH_SENTENCE = 0.5, 0.6
_AS_QUESTION = 0.4

# Documentation has few questions, but users ask many. These templates add question words.
_QUESTIONS = {
    "en": "What is {}?|What does {} mean?|How do I use {}?|How does {} work?|Where is {}?"
    "|When was {}?|Why {}?|Who was {}?|Which is {}?|How many {} are there?|What did {} do?"
    "|What kind of {} is it?|Is {}?",
    "ko": "{}은 무엇인가요?|{}는 언제인가?|{}는 어떻게 하나요?|{}는 누구인가?|{}는 어디에 있나요?",
    "zh": "{}是什么？|如何{}？|为什么{}？|{}在哪里？|{}是谁？|什么时候{}？|有多少{}？",
    "es": "¿Qué es {}?|¿Cómo {}?|¿Cuándo {}?|¿Quién {}?|¿Cuántos {} hay?",
    "ru": "Что такое {}?|Как {}?|Когда {}?|Кто {}?|Сколько {}?",
    "de": "Was ist {}?|Wie {}?|Wann {}?|Wer {}?|Wo ist {}?",
    "fr": "Qu'est-ce que {} ?|Comment {} ?|Quand {} ?|Qui {} ?|Où est {} ?",
}


def as_question(query: str, language: str, rng: random.Random) -> str:
    """Turn some of the queries into questions."""
    frames = _QUESTIONS.get(language.partition("-")[0], "").split("|")
    if query.endswith(("?", "？")) or rng.random() >= _AS_QUESTION:
        return query
    return (rng.choice(frames) or "{}").format(query.rstrip(".。"))


@dataclass
class _Passage:
    lines: list[str] = field(default_factory=list)
    opens: list[Section] = field(default_factory=list)  # sections that begin in the passage
    size: int = 0


def passage_pairs(sections: Sequence[Section], seed: int, *, per_group: int) -> Iterator[Pair]:
    """Cut pages into passages and make queries for them.

    The passages of a page do not overlap, so only one of them answers a query.

    Args:
        sections: Sections in a fixed order.
        seed: Random seed.
        per_group: Maximum number of passages per source and language.
    """
    rng = random.Random(seed)
    generic = Counter(section.heading for section in sections)
    pages: dict[tuple[str, str], dict[str, list[Section]]] = defaultdict(dict)
    for section in sections:
        group = pages[section.source, section.language]
        group.setdefault(section.page, []).append(section)
    for (source, language), group in pages.items():
        left = per_group
        for page in rng.sample(list(group), len(group)):
            for passage in _cut(group[page], rng):
                if left == 0:
                    break
                left -= 1
                for query, text in _queries(passage, generic, rng):
                    query = as_question(query[:_LONGEST_QUERY], language, rng)
                    yield Pair(f"passages.{source}.{language}", query, text)


def _cut(page: Sequence[Section], rng: random.Random) -> Iterator[_Passage]:
    passage, limit = _Passage(), rng.choice(_SIZES)
    with_headings = rng.random() < _WITH_HEADINGS
    for section in page:
        opened = False
        for line in filter(None, section.body.split("\n")):
            size = len(line.encode())
            if passage.lines and passage.size + size > limit:
                yield passage
                passage, limit = _Passage(), rng.choice(_SIZES)
                with_headings = rng.random() < _WITH_HEADINGS
            if not opened:
                opened = True
                passage.opens.append(section)
                if with_headings and section.heading:
                    passage.lines.append(section.heading)
            passage.lines.append(line[:limit])
            passage.size += size
    yield passage


def _queries(
    passage: _Passage, generic: Counter[str], rng: random.Random
) -> Iterator[tuple[str, str]]:
    text = "\n".join(passage.lines)
    if len(text.encode()) < _SHORTEST:
        return
    named = [section for section in passage.opens if section.heading]
    found = [sentence for sentence in sentences(text) if 20 <= len(sentence) <= 300]
    sentence = rng.choice(found) if len(found) > 3 else ""
    if sentence and rng.random() >= _WITH_SENTENCE:
        # For both queries: two versions of a passage would become each other's negatives.
        text = text.replace(sentence, "")
    if sentence:
        yield thinned(sentence, rng), text
    if named:
        yield heading_query(rng.choice(named), generic), text
