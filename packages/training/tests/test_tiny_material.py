"""Documentation to sections, pairs, bags and hard negatives."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from qwen3_rag.errors import InputError
from qwen3_rag_training.tiny.bags import word_bags, words_by_language
from qwen3_rag_training.tiny.negatives import with_negatives
from qwen3_rag_training.tiny.pairs import (
    HELD_OUT_TRANSLATIONS,
    Pair,
    documentation_pairs,
    question_pairs,
    translations,
)
from qwen3_rag_training.tiny.text import Section, read_sections, sentences
from qwen3_rag_training.tiny.tokenizer import train_tokenizer

PAGE = """---
title: Machinery
---
# Storing rows { #storing-rows }

Rows lie in **segments** on [disk](https://example.org). A segment is sealed when it is full.

## Reading them[[reading]]

<Tip>Readers use an index.</Tip>
```python
# not a heading
print(1)
```
Old rows are merged by a background job. The job runs every night.
"""


def pages(folder: Path, **by_language: str) -> Path:
    (folder / "text").mkdir()
    for language, text in by_language.items():
        with gzip.open(folder / "text" / f"manual.{language}.jsonl.gz", "wt") as stream:
            stream.write(json.dumps({"path": f"docs/{language}/rows.md", "text": text}) + "\n")
    return folder / "text"


def test_page_is_cut_at_its_headings_and_freed_of_markup(tmp_path: Path) -> None:
    _, storing, reading = read_sections(pages(tmp_path, en=PAGE))

    assert (storing.heading, reading.heading) == ("Storing rows", "Reading them")
    assert storing.body == "Rows lie in segments on disk. A segment is sealed when it is full."
    assert reading.body.splitlines()[:2] == ["# not a heading", "print(1)"]
    assert reading.title == "Storing rows"
    assert "Machinery" not in storing.body


def test_translations_of_a_page_share_its_name(tmp_path: Path) -> None:
    sections = read_sections(pages(tmp_path, en=PAGE, de=PAGE))

    assert {section.language for section in sections} == {"de", "en"}
    assert {section.page for section in sections} == {"docs/*/rows.md"}


def test_folder_without_text_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        read_sections(tmp_path)


def test_sentences_end_in_every_script() -> None:
    text = "First one here. 第二句话在这里写得长一点。第三句话也在这里写得长一点。\nLast line here"

    assert len(sentences(text)) == 4


def section(language: str, number: int) -> Section:
    body = "\n".join(
        f"Sentence {index} of part {number} speaks about matter {number * 7 + index}."
        for index in range(6)
    )
    return Section("manual", language, "p", number, 9, "Title", f"Heading {number}", body)


def test_documentation_gives_headings_sentences_and_parallel_pairs() -> None:
    sections = [section(language, number) for language in ("en", "de") for number in range(9)]

    pairs = list(documentation_pairs(sections, 0, per_language=5))

    groups = {pair.group for pair in pairs}
    assert groups == {"manual.en", "manual.de", "parallel.manual"}
    headings = [p for p in pairs if p.group == "manual.en" and p.query.startswith("Heading")]
    assert len(headings) == 5
    assert all(pair.query.split()[1] in pair.document for pair in headings)
    assert pairs == list(documentation_pairs(sections, 0, per_language=5))


def test_bags_draw_the_query_from_the_document() -> None:
    words = [f"w{number}" for number in range(50)]

    for pair in word_bags(words, "bags.en", 20, 0):
        asked, document = pair.query.lower().split(), pair.document.split()
        assert set(asked) <= set(document)
        assert len(asked) < len(document)


def test_words_of_small_languages_are_left_out() -> None:
    many = Section("s", "en", "p", 0, 1, "", "", "")
    texts = [
        " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(90 * n, 90 * n + 90))
        for n in range(7)
    ]
    sections = [Section("s", "en", "p", 0, 1, "", "", text) for text in texts for _ in range(2)]
    small = Section("s", "xx", "p", 0, 1, "", "", "tiny tiny vocabulary vocabulary")

    found = words_by_language([many, small, *sections])

    assert set(found) == {"en"}
    assert "wordaa" in found["en"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["red fox blue whale green frog jumps swims sings"] * 50, 700)


def test_hard_negatives_share_words_and_are_not_the_answer(tokenizer: Tokenizer) -> None:
    pairs = [
        Pair("g", "red fox jumps", "the red fox jumps high"),
        Pair("g", "blue whale", "a blue whale swims"),
        Pair("g", "green frog", "one red fox sings to a green frog"),
        Pair("g", "whale", "the whale sings all day"),
    ]

    first, *_ = with_negatives(pairs, tokenizer, 1, 0)

    assert first.positive == pairs[0].document
    assert len(first.negatives) == 1
    assert first.positive not in first.negatives


def test_evaluation_lines_are_not_trained_on(shared_data: Path) -> None:
    training = list(translations(shared_data))
    held_out = list(translations(shared_data, held_out=True))

    assert {language for language, _, _ in held_out} == set(HELD_OUT_TRANSLATIONS)
    assert len(held_out) == sum(HELD_OUT_TRANSLATIONS.values())
    secret = {text for _, *pair in held_out for text in pair}
    assert not secret & {text for _, *pair in training for text in pair}
    assert len(training) > 8_000


def test_questions_are_of_the_training_part(shared_data: Path) -> None:
    corpora = shared_data / "corpora"
    evaluation = {
        json.loads(line)["text"]
        for file in corpora.glob("*_dev*/queries.jsonl")
        for line in file.read_text(encoding="utf-8").split("\n")
        if line
    }

    found = {pair.query for pair in question_pairs(shared_data)}

    assert len(found) > 2_000
    # Eight questions stand in both parts of TyDiQA, and the benchmark leaves them out; a leak
    # would be hundreds.
    assert len(found & evaluation) <= 8
