"""All training material of the tiny pair, from the shared data folder to JSON lines.

Decides how much of what is used; what a pair is made of is known elsewhere.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from qwen3_rag_training.data import Example, write_examples
from qwen3_rag_training.tiny.bags import word_bags, words_by_language
from qwen3_rag_training.tiny.negatives import with_negatives
from qwen3_rag_training.tiny.pairs import (
    Pair,
    documentation_pairs,
    question_pairs,
    translations,
)
from qwen3_rag_training.tiny.text import Section, read_sections

__all__ = ["Material", "read_material", "statistics_texts", "tokenizer_texts", "write_pairs"]

# Characters of each language the tokenizer is trained on. Vocabulary goes where text is, so
# English, Korean and Chinese get most, and languages of long scripts least.
_TOKENIZER_SHARE = {"ko": 2_400_000, "zh": 2_400_000, "en": 1_300_000}
_TOKENIZER_SMALL = {"my": 60_000, "te": 30_000, "th": 100_000, "hi": 120_000, "ro": 150_000}
_TOKENIZER_OTHERS = 260_000

# General English words come from the teacher's vocabulary, which is sorted by frequency.
_WORD_WEIGHT, _WORD_FLATNESS = 800_000, 500

_PER_LANGUAGE = 6_000
_QUESTION_REPEATS = 3
_ENGLISH_BAGS, _OTHER_BAGS = 16_000, 1_500
_HELD_OUT = 0.01

# The Korean reference is most of the text and mostly tables; one section in six is enough.
_THINNED = {"cpp_docs": 0.15}


@dataclass(frozen=True)
class Material:
    """What is read once and used by several stages.

    Attributes:
        data: The shared data folder.
        sections: Of the documentation.
        words: General English words, commonest first.
    """

    data: Path
    sections: list[Section]
    words: list[str]


def read_material(data: Path, teacher: Path) -> Material:
    """Read documentation and word list.

    Raises:
        InputError: The data folder holds no documentation.
    """
    sections = read_sections(data / "text")
    vocabulary = (teacher / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [w for w in vocabulary if w.isascii() and w.isalpha() and len(w) > 1]
    return Material(data, sections, words)


def tokenizer_texts(material: Material, seed: int) -> Iterator[str]:
    """Text to train the tokenizer on, languages in balance."""
    chance = random.Random(seed)
    room = {**_TOKENIZER_SHARE, **_TOKENIZER_SMALL}
    for section in chance.sample(material.sections, len(material.sections)):
        left = room.get(section.language, _TOKENIZER_OTHERS)
        if left > 0:
            text = f"{section.heading}\n{section.body}"
            room[section.language] = left - len(text)
            yield text
    for pair in question_pairs(material.data):
        yield f"{pair.query}\n{pair.document}"
    for _, foreign, english in translations(material.data):
        yield f"{foreign}\n{english}"
    for rank, word in enumerate(material.words):
        count = max(3, _WORD_WEIGHT // (rank + _WORD_FLATNESS))
        yield f" {word}" * count + f" {word.capitalize()}" * (count // 4 + 1)


def statistics_texts(material: Material, seed: int) -> list[str]:
    """Documents for the co-occurrence statistics; versions of one text in one document."""
    chance = random.Random(seed)
    texts = []
    parallel: dict[tuple[str, str, int, int], list[str]] = defaultdict(list)
    for section in material.sections:
        text = f"{section.heading}\n{section.body}"
        parallel[section.source, section.page, section.place, section.places].append(text[:1500])
        if len(section.body) > 60 and chance.random() < _THINNED.get(section.source, 1.0):
            texts.append(text[:1000])
    texts += ["\n".join(versions) for versions in parallel.values() if len(versions) > 1]
    same: dict[str, list[str]] = defaultdict(list)
    for _, foreign, english in translations(material.data):
        same[english].append(foreign)
    texts += ["\n".join((english, *foreign)) for english, foreign in same.items()]
    return texts + [pair.document for pair in question_pairs(material.data)]


def _pairs(material: Material, seed: int) -> Iterator[Pair]:
    yield from documentation_pairs(material.sections, seed, per_language=_PER_LANGUAGE)
    for _ in range(_QUESTION_REPEATS):
        yield from question_pairs(material.data)
    chance = random.Random(seed)
    for language, foreign, english in translations(material.data):
        query, document = (foreign, english) if chance.random() < 0.5 else (english, foreign)
        yield Pair(f"tatoeba.{language}", query, document)
    yield from word_bags(material.words, "bags.en", _ENGLISH_BAGS, seed)
    for language, words in words_by_language(material.sections).items():
        yield from word_bags(words, f"bags.{language}", _OTHER_BAGS, seed)


def write_pairs(
    material: Material, tokenizer: Tokenizer, folder: Path, *, negatives: int, seed: int
) -> tuple[Path, Path]:
    """Write training and held-out examples, groups one after the other.

    Args:
        material: As read.
        tokenizer: For BM25 over the model's own tokens.
        folder: Where to.
        negatives: Hard negatives per example.
        seed: Of everything drawn.

    Returns:
        The two files.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in _pairs(material, seed):
        groups[pair.group].append(pair)
    training: list[Example] = []
    held_out: list[Example] = []
    chance = random.Random(seed)
    counts = {}
    for group, pairs in sorted(groups.items()):
        chance.shuffle(pairs)
        # A document repeated by several pairs is on one side only.
        kept = set(chance.sample([p.document for p in pairs], k=int(len(pairs) * _HELD_OUT)))
        examples = list(with_negatives(pairs, tokenizer, negatives, seed))
        mine = [example for example in examples if example.positive not in kept]
        held_out += _once([example for example in examples if example.positive in kept])
        training += mine
        counts[group] = len(mine)
    files = folder / "training.jsonl", folder / "held_out.jsonl"
    write_examples(training, files[0])
    write_examples(held_out, files[1])
    (folder / "counts.json").write_text(json.dumps(counts, indent=1), encoding="utf-8")
    return files


def _once(examples: Sequence[Example]) -> list[Example]:
    return list({(example.query, example.positive): example for example in examples}.values())
