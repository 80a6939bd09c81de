"""The training data of the tiny checkpoints: which sources are used, and how much of each."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from qwen3_rag_training.data import Example, write_examples
from tools.train_tiny.bags import word_bags, words_by_language
from tools.train_tiny.negatives import with_negatives
from tools.train_tiny.pairs import (
    Pair,
    documentation_pairs,
    question_pairs,
    translations,
)
from tools.train_tiny.passages import as_question, passage_pairs
from tools.train_tiny.text import Section, read_sections

__all__ = [
    "Material",
    "bag_examples",
    "read_material",
    "statistics_texts",
    "tokenizer_texts",
    "write_pairs",
]

# Characters per language for training the tokenizer. More text gets more of the vocabulary, so
# English, Korean and Chinese get the most and scripts with long UTF-8 codes the least.
_TOKENIZER_SHARE = {"ko": 2_400_000, "zh": 2_400_000, "en": 1_300_000}
_TOKENIZER_SMALL = {"my": 60_000, "te": 30_000, "th": 100_000, "hi": 120_000, "ro": 150_000}
_TOKENIZER_OTHERS = 260_000

# General English words come from the teacher's vocabulary, which is sorted by frequency.
_WORD_WEIGHT, _WORD_FLATNESS = 800_000, 500

_PER_LANGUAGE = 6_000
_QUESTION_REPEATS = 3
_ENGLISH_BAGS, _OTHER_BAGS = 16_000, 1_500
_MORE_ENGLISH_BAGS, _MORE_BAGS, _BLOCK = 60_000, 3_000, 512
# Passages are long, so fewer of them are needed.
_PASSAGES, _LONGEST_PASSAGE = 1_200, 600

# One page in 50 is held out, in every language; at most 60 of their sections per group are used.
_ONE_PAGE_IN, _HELD_OUT = 50, 60

# The Korean C++ reference is most of the text and mostly tables; 15 % of its sections is enough.
_THINNED = {"cpp_docs": 0.15}


@dataclass(frozen=True)
class Material:
    """The data that several stages use.

    Attributes:
        data: Folder of the training data.
        sections: Sections of the documentation.
        words: General English words, most frequent first.
    """

    data: Path
    sections: list[Section]
    words: list[str]


def read_material(data: Path, teacher: Path) -> Material:
    """Read the documentation and the word list.

    Raises:
        InputError: The data folder contains no documentation.
    """
    sections = read_sections(data / "text")
    vocabulary = (teacher / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [w for w in vocabulary if w.isascii() and w.isalpha() and len(w) > 1]
    return Material(data, sections, words)


def tokenizer_texts(material: Material, seed: int) -> Iterator[str]:
    """Yield text to train the tokenizer on, balanced between languages."""
    rng = random.Random(seed)
    budget = {**_TOKENIZER_SHARE, **_TOKENIZER_SMALL}
    for section in rng.sample(material.sections, len(material.sections)):
        left = budget.get(section.language, _TOKENIZER_OTHERS)
        if left > 0:
            text = f"{section.heading}\n{section.body}"
            budget[section.language] = left - len(text)
            yield text
    for pair in question_pairs(material.data):
        yield f"{pair.query}\n{pair.document}"
    for _, foreign, english in translations(material.data):
        yield f"{foreign}\n{english}"
    for rank, word in enumerate(material.words):
        count = max(3, _WORD_WEIGHT // (rank + _WORD_FLATNESS))
        yield f" {word}" * count + f" {word.capitalize()}" * (count // 4 + 1)


def statistics_texts(material: Material, seed: int) -> list[str]:
    """List documents for co-occurrence statistics; translations of a text form one document."""
    rng = random.Random(seed)
    texts = []
    parallel: dict[tuple[str, str, int, int], list[str]] = defaultdict(list)
    for section in material.sections:
        text = f"{section.heading}\n{section.body}"
        parallel[section.source, section.page, section.place, section.places].append(text[:1500])
        if len(section.body) > 60 and rng.random() < _THINNED.get(section.source, 1.0):
            texts.append(text[:1000])
    texts += ["\n".join(versions) for versions in parallel.values() if len(versions) > 1]
    same: dict[str, list[str]] = defaultdict(list)
    for _, foreign, english in translations(material.data):
        same[english].append(foreign)
    texts += ["\n".join((english, *foreign)) for english, foreign in same.items()]
    return texts + [pair.document for pair in question_pairs(material.data)]


def _documentation(material: Material, held_out: bool) -> list[Section]:
    """List the sections of the held-out pages, or those of all other pages."""
    return [
        section
        for section in material.sections
        if (crc32(section.page.encode()) % _ONE_PAGE_IN == 0) == held_out
    ]


def _pairs(material: Material, seed: int) -> Iterator[Pair]:
    training = _documentation(material, held_out=False)
    yield from documentation_pairs(training, seed, per_language=_PER_LANGUAGE)
    for _ in range(_QUESTION_REPEATS):
        yield from question_pairs(material.data)
    rng = random.Random(seed)
    for language, foreign, english in translations(material.data):
        query, document = (foreign, english) if rng.random() < 0.5 else (english, foreign)
        yield Pair(f"tatoeba.{language}", query, document)
    yield from _bags(material.words, "en", _ENGLISH_BAGS, seed)
    for language, words in words_by_language(training).items():
        yield from _bags(words, language, _OTHER_BAGS, seed)


def bag_examples(material: Material, seed: int) -> list[Example]:
    """Make additional word bags, without hard negatives, in randomly ordered blocks.

    They train the tokens that documentation rarely uses.
    """
    rng = random.Random(seed)
    words = words_by_language(_documentation(material, held_out=False))
    passages = [text for pair in question_pairs(material.data) for text in pair.document.split()]
    words["ko"] = sorted({*words.get("ko", ()), *(word for word in passages if len(word) < 8)})
    counts = dict.fromkeys(words, _MORE_BAGS) | {"ko": 4 * _MORE_BAGS, "zh": 2 * _MORE_BAGS}
    words["english"], counts["english"] = material.words, _MORE_ENGLISH_BAGS
    blocks = []
    for language, some in sorted(words.items()):
        found = list(_bags(some, language.replace("english", "en"), counts[language], seed + 1))
        blocks += [found[i : i + _BLOCK] for i in range(0, len(found), _BLOCK)]
    rng.shuffle(blocks)
    return [Example(pair.query, pair.document) for block in blocks for pair in block]


def _bags(words: Sequence[str], language: str, count: int, seed: int) -> Iterator[Pair]:
    rng = random.Random(seed)
    for pair in word_bags(words, f"bags.{language}", count, seed):
        yield replace(pair, query=as_question(pair.query, language, rng))


def _long_pairs(material: Material, seed: int) -> Iterator[Pair]:
    training = _documentation(material, held_out=False)
    yield from passage_pairs(training, seed, per_group=_PASSAGES)
    yield from question_pairs(material.data, _LONGEST_PASSAGE)


def _held_out_pairs(material: Material, seed: int) -> Iterator[Pair]:
    pages = _documentation(material, held_out=True)
    yield from documentation_pairs(pages, seed, per_language=_HELD_OUT)


def _held_out_passages(material: Material, seed: int) -> Iterator[Pair]:
    pages = _documentation(material, held_out=True)
    yield from passage_pairs(pages, seed, per_group=_HELD_OUT)


def write_pairs(material: Material, folder: Path, *, negatives: int, seed: int) -> None:
    """Write training and held-out examples for both models, sorted by group.

    `training.jsonl` and `held_out.jsonl` are for the embedder and have short documents.
    `passages.jsonl` and `held_out_passages.jsonl` are for the reranker and have documents up to the
    size of an index's chunks.

    Args:
        material: The data to use.
        folder: Output folder.
        negatives: Hard negatives per example.
        seed: Random seed.
    """
    parts = {
        "training": _pairs,
        "passages": _long_pairs,
        "held_out_passages": _held_out_passages,
        "held_out": _held_out_pairs,
    }
    counts: dict[str, dict[str, int]] = {}
    for name, draw in parts.items():
        groups: dict[str, list[Pair]] = defaultdict(list)
        for pair in draw(material, seed):
            groups[pair.group].append(pair)
        rng = random.Random(seed)
        examples: list[Example] = []
        for group, pairs in sorted(groups.items()):
            rng.shuffle(pairs)
            examples += with_negatives(pairs, negatives, seed)
            counts.setdefault(name, {})[group] = len(pairs)
        write_examples(examples, folder / f"{name}.jsonl")
    (folder / "counts.json").write_text(json.dumps(counts, indent=1), encoding="utf-8")
