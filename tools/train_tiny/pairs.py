"""Query-document pairs from documentation, Korean questions and translations.

The sources are documentation, the training parts of TyDiQA and KorSTS, and translations that are
not held out. Texts that also occur in an evaluation set are excluded.
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
    "documentation_pairs",
    "evaluation_texts",
    "heading_query",
    "normalised",
    "question_pairs",
    "thinned",
    "translations",
]

#: How many lines at the end of a translation file are held out for the benchmark.
HELD_OUT_TRANSLATIONS = {"kor": 300, "cmn": 300, "deu": 300}

_QUESTIONS, _SENTENCES = "tydiqa_ko_train", "sts-train.tsv"

_LINE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")  # noqa: RUF001  # Chinese marks

_SHORTEST_BODY = 60
_LONGEST_BODY = 700
_LONGEST_QUERY = 160
_CLOSEST = 4.0  # KorSTS scores range from 0 to 5; from 4 on, two sentences are paraphrases.


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the document that answers it.

    Attributes:
        group: Source and language; negatives come from the same group.
        query: The query.
        document: The document that answers it.
    """

    group: str
    query: str
    document: str


def thinned(sentence: str, rng: random.Random) -> str:
    """Drop random words, so that a sentence resembles a search query."""
    words = sentence.split()
    if len(words) < 6:
        return sentence
    keep = rng.uniform(0.4, 1.0)
    return " ".join(word for word in words if rng.random() < keep) or sentence


def _window(body: str, rng: random.Random) -> str:
    """Cut a few consecutive lines from a body, up to a random length."""
    limit = rng.choice((150, 250, 400, _LONGEST_BODY))
    if len(body) <= limit:
        return body
    lines = [line for line in _LINE_END.split(body) if line.strip()]
    start = rng.randrange(len(lines))
    text = ""
    for line in lines[start:]:
        if text and len(text) + len(line) > limit:
            break
        text += ("\n" if text else "") + line.strip()
    return text[:limit]


def heading_query(section: Section, generic: Counter[str]) -> str:
    """Return the heading as a query, with the page title if the heading is generic."""
    if generic[section.heading] > 2 and section.title != section.heading:
        return f"{section.title} {section.heading}"
    return section.heading


def documentation_pairs(
    sections: Sequence[Section], seed: int, *, per_language: int
) -> Iterator[Pair]:
    """Pair headings with sections and sentences with their context, also across translations.

    Args:
        sections: Sections in a fixed order.
        seed: Random seed.
        per_language: Maximum number of sections per source and language.
    """
    rng = random.Random(seed)
    generic = Counter(section.heading for section in sections)
    groups: dict[str, list[Section]] = defaultdict(list)
    parallel: dict[tuple[str, str, int, int], list[Section]] = defaultdict(list)
    for section in sections:
        if len(section.body) >= _SHORTEST_BODY:
            groups[f"{section.source}.{section.language}"].append(section)
            key = (section.source, section.page, section.place, section.places)
            parallel[key].append(section)
    for group, members in groups.items():
        rng.shuffle(members)
        for section in members[:per_language]:
            if section.heading:
                yield Pair(group, heading_query(section, generic), _window(section.body, rng))
            yield from _sentence_pairs(group, section, rng)
    for versions in parallel.values():
        yield from _parallel_pairs(versions, rng)


def _sentence_pairs(group: str, section: Section, rng: random.Random) -> Iterator[Pair]:
    found = sentences(section.body)
    if len(found) < 3:
        return
    for place in rng.sample(range(len(found)), k=min(2, len(found) // 3)):
        sentence = found[place]
        if not 20 <= len(sentence) <= 300:
            continue
        near = found[max(0, place - 2) : place + 4]
        if rng.random() < 0.4:  # some queries are not part of the document
            near = [other for other in near if other != sentence]
        query = thinned(sentence, rng)[:_LONGEST_QUERY]
        document = "\n".join(near)[:_LONGEST_BODY]
        if len(document) >= _SHORTEST_BODY:
            yield Pair(group, query, document)


def _parallel_pairs(versions: list[Section], rng: random.Random) -> Iterator[Pair]:
    """Pair a query in one language with a section in another."""
    if len(versions) < 2 or not versions[0].heading:
        return
    for section in rng.sample(versions, k=min(3, len(versions))):
        other = rng.choice([v for v in versions if v.language != section.language] or [section])
        if other is not section:
            first = sentences(section.body)[:1]
            query = first[0] if first and rng.random() < 0.5 else section.heading
            if len(query) > 8:
                text = _window(other.body, rng)
                yield Pair(f"parallel.{section.source}", query[:_LONGEST_QUERY], text)


def normalised(text: str) -> str:
    """Normalise a text so that case, width and spacing do not matter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def evaluation_texts(data: Path) -> frozenset[str]:
    """Collect the normalised texts of all evaluation sets."""
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
    """Pair Korean questions with passages, and Korean sentences with paraphrases.

    Pairs that share a text with an evaluation set are excluded, because the training and evaluation
    parts of TyDiQA and KorSTS overlap.

    Args:
        data: Folder of the training data.
        longest: Maximum length of a passage in characters.
    """
    excluded = evaluation_texts(data)
    for pair in _question_pairs(data):
        if not excluded.intersection((normalised(pair.query), normalised(pair.document))):
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
    """Read the scored sentence pairs of a KorSTS file."""
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
    """Yield language, foreign sentence and English sentence.

    An English sentence that is held out in one language is excluded from training in all.

    Args:
        data: Folder of the training data.
        held_out: Whether to yield the lines of the benchmark instead of those for training.
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
    excluded = {text for _, *both in kept for text in both}
    for language, foreign, sentence in used:
        if foreign not in excluded and sentence not in excluded:
            yield language, foreign, sentence
