"""Pages cut into passages as long as an index's chunks, each with queries that only it answers.

A reranker that was trained on a few sentences misjudges a long chunk. Knows sections; knows no
tokens and no models.
"""

# ruff: noqa: RUF001  # question marks in their own scripts
from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tools.train_tiny.pairs import Pair, asked, thinned
from tools.train_tiny.text import Section, sentences

__all__ = ["as_question", "passage_pairs"]

# In UTF-8 bytes, of which a token has four to five in any language: up to about 384 tokens.
_SIZES = (400, 800, 1_200, 1_600, 1_600)
_SHORTEST = 150
_LONGEST_QUERY = 160

# Chances that a passage shows the headings it holds, and that it holds the sentence asked with.
_WITH_HEADINGS, _WITH_SENTENCE = 0.5, 0.6
_AS_QUESTION = 0.4

# Documentation has few questions; searchers ask many. Their words tell nothing about the answer.
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


def as_question(query: str, language: str, chance: random.Random) -> str:
    """Now and then, put the query into the words of a question."""
    frames = _QUESTIONS.get(language.partition("-")[0], "").split("|")
    if query.endswith(("?", "？")) or chance.random() >= _AS_QUESTION:
        return query
    return (chance.choice(frames) or "{}").format(query.rstrip(".。"))


@dataclass
class _Passage:
    lines: list[str] = field(default_factory=list)
    opens: list[Section] = field(default_factory=list)  # sections that begin in it
    size: int = 0


def passage_pairs(sections: Sequence[Section], seed: int, *, per_group: int) -> Iterator[Pair]:
    """Cut pages and ask for what their passages say.

    Passages of a page do not overlap, so that one of them alone answers a query.

    Args:
        sections: In a fixed order.
        seed: Of what is drawn.
        per_group: Passages of one source and language that are used, at most.
    """
    chance = random.Random(seed)
    generic = Counter(section.heading for section in sections)
    pages: dict[tuple[str, str], dict[str, list[Section]]] = defaultdict(dict)
    for section in sections:
        group = pages[section.source, section.language]
        group.setdefault(section.page, []).append(section)
    for (source, language), group in pages.items():
        left = per_group
        for page in chance.sample(list(group), len(group)):
            for passage in _cut(group[page], chance):
                if left == 0:
                    break
                left -= 1
                for query, text in _asked(passage, generic, chance):
                    query = as_question(query[:_LONGEST_QUERY], language, chance)
                    yield Pair(f"passages.{source}.{language}", query, text)


def _cut(page: Sequence[Section], chance: random.Random) -> Iterator[_Passage]:
    passage, limit = _Passage(), chance.choice(_SIZES)
    with_headings = chance.random() < _WITH_HEADINGS
    for section in page:
        opened = False
        for line in filter(None, section.body.split("\n")):
            size = len(line.encode())
            if passage.lines and passage.size + size > limit:
                yield passage
                passage, limit = _Passage(), chance.choice(_SIZES)
                with_headings = chance.random() < _WITH_HEADINGS
            if not opened:
                opened = True
                passage.opens.append(section)
                if with_headings and section.heading:
                    passage.lines.append(section.heading)
            passage.lines.append(line[:limit])
            passage.size += size
    yield passage


def _asked(
    passage: _Passage, generic: Counter[str], chance: random.Random
) -> Iterator[tuple[str, str]]:
    text = "\n".join(passage.lines)
    if len(text.encode()) < _SHORTEST:
        return
    named = [section for section in passage.opens if section.heading]
    found = [sentence for sentence in sentences(text) if 20 <= len(sentence) <= 300]
    sentence = chance.choice(found) if len(found) > 3 else ""
    if sentence and chance.random() >= _WITH_SENTENCE:
        # For both queries: a passage in two versions would be its own negative.
        text = text.replace(sentence, "")
    if sentence:
        yield thinned(sentence, chance), text
    if named:
        yield asked(chance.choice(named), generic), text
