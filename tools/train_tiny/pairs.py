"""Query-document pairs from documentation, Korean questions and translations.

What the pairs are made of is what the project may train on: documentation, the training part of
TyDiQA, the training part of KorSTS and translation lines that are not held out, all without what
evaluation sets hold too. Knows no tokens.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.train_tiny.text import Section, sentences

__all__ = [
    "HELD_OUT_TRANSLATIONS",
    "Pair",
    "asked",
    "documentation_pairs",
    "evaluation_texts",
    "normalised",
    "question_pairs",
    "thinned",
    "translations",
]

#: Translation files whose last lines are kept for the benchmark, and how many lines that is.
HELD_OUT_TRANSLATIONS = {"kor": 300, "cmn": 300, "deu": 300}

_QUESTIONS, _SENTENCES = "tydiqa_ko_train", "sts-train.tsv"

_LINE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")  # noqa: RUF001  # Chinese marks

_SHORTEST_BODY = 60
_LONGEST_BODY = 700
_LONGEST_QUERY = 160
_CLOSEST = 4.0  # KorSTS scores run from 0 to 5; from here on two sentences say the same.


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the document that answers it.

    Attributes:
        group: Source and language; negatives come from the same group.
        query: What is asked.
        document: What answers it.
    """

    group: str
    query: str
    document: str


def thinned(sentence: str, chance: random.Random) -> str:
    """Drop words, so that a sentence reads like a search query and not like its source."""
    words = sentence.split()
    if len(words) < 6:
        return sentence
    keep = chance.uniform(0.4, 1.0)
    return " ".join(word for word in words if chance.random() < keep) or sentence


def _window(body: str, chance: random.Random) -> str:
    """Some neighbouring lines of a body: short documents first, whole ones now and then."""
    limit = chance.choice((150, 250, 400, _LONGEST_BODY))
    if len(body) <= limit:
        return body
    lines = [line for line in _LINE_END.split(body) if line.strip()]
    start = chance.randrange(len(lines))
    text = ""
    for line in lines[start:]:
        if text and len(text) + len(line) > limit:
            break
        text += ("\n" if text else "") + line.strip()
    return text[:limit]


def asked(section: Section, generic: Counter[str]) -> str:
    """A heading that means something without its page, else page title and heading."""
    if generic[section.heading] > 2 and section.title != section.heading:
        return f"{section.title} {section.heading}"
    return section.heading


def documentation_pairs(
    sections: Sequence[Section], seed: int, *, per_language: int
) -> Iterator[Pair]:
    """Headings to sections, sentences to their surroundings, across languages where parallel.

    Args:
        sections: In a fixed order.
        seed: Of what is drawn.
        per_language: Sections of one source and language that are used, at most.
    """
    chance = random.Random(seed)
    generic = Counter(section.heading for section in sections)
    groups: dict[str, list[Section]] = defaultdict(list)
    parallel: dict[tuple[str, str, int, int], list[Section]] = defaultdict(list)
    for section in sections:
        if len(section.body) >= _SHORTEST_BODY:
            groups[f"{section.source}.{section.language}"].append(section)
            key = (section.source, section.page, section.place, section.places)
            parallel[key].append(section)
    for group, members in groups.items():
        chance.shuffle(members)
        for section in members[:per_language]:
            if section.heading:
                yield Pair(group, asked(section, generic), _window(section.body, chance))
            yield from _sentence_pairs(group, section, chance)
    for versions in parallel.values():
        yield from _parallel_pairs(versions, chance)


def _sentence_pairs(group: str, section: Section, chance: random.Random) -> Iterator[Pair]:
    found = sentences(section.body)
    if len(found) < 3:
        return
    for place in chance.sample(range(len(found)), k=min(2, len(found) // 3)):
        sentence = found[place]
        if not 20 <= len(sentence) <= 300:
            continue
        near = found[max(0, place - 2) : place + 4]
        if chance.random() < 0.4:  # most queries share words with the document, but not all
            near = [other for other in near if other != sentence]
        query = thinned(sentence, chance)[:_LONGEST_QUERY]
        document = "\n".join(near)[:_LONGEST_BODY]
        if len(document) >= _SHORTEST_BODY:
            yield Pair(group, query, document)


def _parallel_pairs(versions: list[Section], chance: random.Random) -> Iterator[Pair]:
    """Ask in one language what a section says in another."""
    if len(versions) < 2 or not versions[0].heading:
        return
    for section in chance.sample(versions, k=min(3, len(versions))):
        other = chance.choice([v for v in versions if v.language != section.language] or [section])
        if other is not section:
            first = sentences(section.body)[:1]
            query = first[0] if first and chance.random() < 0.5 else section.heading
            if len(query) > 8:
                text = _window(other.body, chance)
                yield Pair(f"parallel.{section.source}", query[:_LONGEST_QUERY], text)


def normalised(text: str) -> str:
    """The text as far as case, width and spaces do not matter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def evaluation_texts(data: Path) -> frozenset[str]:
    """Queries and passages of all evaluation collections and sentences of KorSTS', normalised."""
    texts = [
        text
        for file in (data / "corpora").glob("*/[cq]*.jsonl")
        if file.parent.name != _QUESTIONS
        for _, text in _records(file)
    ]
    for file in (data / "pairs" / "korsts").glob("sts-*.tsv"):
        if file.name != _SENTENCES:
            texts += [text for _, *both in _scored(file) for text in both]
    return frozenset(map(normalised, texts))


def question_pairs(data: Path, longest: int = _LONGEST_BODY) -> Iterator[Pair]:
    """Korean questions to the passages that answer them, and sentences to their paraphrases.

    Pairs with a text of an evaluation set are left out: the parts of TyDiQA share some questions
    and passages, those of KorSTS some sentences.

    Args:
        data: The shared data folder.
        longest: Characters of a passage, at most.
    """
    secret = evaluation_texts(data)
    for pair in _question_pairs(data):
        if not secret.intersection((normalised(pair.query), normalised(pair.document))):
            yield Pair(pair.group, pair.query, pair.document[:longest])


def _question_pairs(data: Path) -> Iterator[Pair]:
    folder = data / "corpora" / _QUESTIONS
    passages = dict(_records(folder / "corpus.jsonl"))
    questions = dict(_records(folder / "queries.jsonl"))
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").split("\n")[1:]:
        if line:
            question, passage, _ = line.split("\t")
            yield Pair("tydiqa.ko", questions[question], passages[passage])
    for score, first, second in _scored(data / "pairs" / "korsts" / _SENTENCES):
        if score >= _CLOSEST:
            yield Pair("korsts.ko", first, second)


def _scored(file: Path) -> Iterator[tuple[float, str, str]]:
    """Sentence pairs of KorSTS."""
    for line in file.read_text(encoding="utf-8").split("\n")[1:]:
        cells = line.rstrip("\r").split("\t")
        if len(cells) >= 7:
            yield float(cells[4]), cells[5], cells[6]


def _records(file: Path) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            yield record["_id"], record["text"]


def translations(data: Path, *, held_out: bool = False) -> Iterator[tuple[str, str, str]]:
    """Translation lines: language, foreign sentence, English sentence.

    An English sentence that is held out in one language is left out of training in all of them.

    Args:
        data: The shared data folder.
        held_out: The lines kept for the benchmark instead of those for training.
    """
    kept: list[tuple[str, str, str]] = []
    used: list[tuple[str, str, str]] = []
    for file in sorted((data / "pairs" / "tatoeba").glob("*.eng")):
        language = file.stem.removeprefix("tatoeba.").removesuffix("-eng")
        english = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
        other = file.with_suffix(f".{language}").read_text(encoding="utf-8").rstrip("\n")
        lines = [(language, *pair) for pair in zip(other.split("\n"), english, strict=True)]
        border = len(lines) - HELD_OUT_TRANSLATIONS.get(language, 0)
        used.extend(lines[:border])
        kept.extend(lines[border:])
    if held_out:
        yield from kept
        return
    secret = {text for _, *both in kept for text in both}
    for language, foreign, sentence in used:
        if foreign not in secret and sentence not in secret:
            yield language, foreign, sentence
