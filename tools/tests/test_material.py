"""The training data: sections, pairs, word bags, passages and hard negatives."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import pytest

from qwen3_rag.errors import InputError
from tools.train_tiny.bags import word_bags, words_by_language
from tools.train_tiny.negatives import with_negatives
from tools.train_tiny.pairs import (
    HELD_OUT_TRANSLATIONS,
    Pair,
    documentation_pairs,
    evaluation_texts,
    normalised,
    question_pairs,
    translations,
)
from tools.train_tiny.passages import as_question, passage_pairs
from tools.train_tiny.text import Section, read_sections, sentences

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


def test_page_is_split_at_headings_and_markup_is_removed(tmp_path: Path) -> None:
    _, storing, reading = read_sections(pages(tmp_path, en=PAGE))

    assert (storing.heading, reading.heading) == ("Storing rows", "Reading them")
    assert storing.body == "Rows lie in segments on disk. A segment is sealed when it is full."
    assert reading.body.splitlines()[:2] == ["# not a heading", "print(1)"]
    assert reading.title == "Storing rows"
    assert "Machinery" not in storing.body


def test_translations_of_a_page_have_one_page_name(tmp_path: Path) -> None:
    sections = read_sections(pages(tmp_path, en=PAGE, de=PAGE))

    assert {section.language for section in sections} == {"de", "en"}
    assert {section.page for section in sections} == {"docs/*/rows.md"}


def test_folder_without_text_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        read_sections(tmp_path)


def test_sentences_are_split_in_several_scripts() -> None:
    text = "First one here. 第二句话在这里写得长一点。第三句话也在这里写得长一点。\nLast line here"

    assert len(sentences(text)) == 4


def section(language: str, number: int) -> Section:
    body = "\n".join(
        f"Sentence {index} of part {number} speaks about matter {number * 7 + index}."
        for index in range(6)
    )
    return Section("manual", language, "p", number, 9, "Title", f"Heading {number}", body)


def test_documentation_gives_heading_sentence_and_parallel_pairs() -> None:
    sections = [section(language, number) for language in ("en", "de") for number in range(9)]

    pairs = list(documentation_pairs(sections, 0, per_language=5))

    groups = {pair.group for pair in pairs}
    assert groups == {"manual.en", "manual.de", "parallel.manual"}
    headings = [p for p in pairs if p.group == "manual.en" and p.query.startswith("Heading")]
    assert len(headings) == 5
    assert all(pair.query.split()[1] in pair.document for pair in headings)
    assert pairs == list(documentation_pairs(sections, 0, per_language=5))


def test_query_of_a_word_bag_is_part_of_its_document() -> None:
    words = [f"w{number}" for number in range(50)]

    for pair in word_bags(words, "bags.en", 20, 0):
        asked, document = pair.query.lower().split(), pair.document.split()
        assert set(asked) <= set(document)
        assert len(asked) < len(document)


def test_languages_with_few_words_are_skipped() -> None:
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


def test_hard_negatives_share_words_with_the_query() -> None:
    rivals = ["one red fox sings", "a red lamp", "the fox hole", "it jumps far"]
    others = [f"nothing about number{number}" for number in range(20)]
    documents = ["the red fox jumps high", *rivals, *others]
    pairs = [Pair("g", "red fox jumps", text) for text in documents[:1]]
    pairs += [Pair("g", text, text) for text in documents[1:]]

    first, *_ = with_negatives(pairs, 1, 0)

    assert first.positive == documents[0]
    assert len(first.negatives) == 1
    assert set(first.negatives) <= set(rivals)


def test_passages_of_a_page_do_not_overlap() -> None:
    body = "\n".join(f"Line {number} tells of subject{number} and more." for number in range(60))
    page = [Section("manual", "en", "p", 0, 1, "Title", f"Heading {n}", body) for n in range(1)]

    pairs = list(passage_pairs(page, 0, per_group=99))

    documents = list(dict.fromkeys(pair.document for pair in pairs))
    lines = [line for text in documents for line in text.split("\n") if line.startswith("Line")]
    assert len(documents) > 1
    assert len(lines) == len(set(lines)) > 50
    assert max(len(text.encode()) for text in documents) < 1_700
    assert {pair.group for pair in pairs} == {"passages.manual.en"}
    for pair in pairs:
        for word in set(re.findall(r"subject\d+", pair.query)):
            elsewhere = [text for text in documents if text != pair.document]
            assert not any(re.search(rf"{word}\b", text) for text in elsewhere)


def test_some_queries_become_questions_in_their_language() -> None:
    rng = random.Random(0)

    asked = {as_question("the roof", "en", rng) for _ in range(200)}
    korean = {as_question("지붕", "ko", rng) for _ in range(50)}

    assert {"the roof", "What is the roof?", "How does the roof work?"} <= asked
    assert {"지붕", "지붕은 무엇인가요?"} <= korean
    assert {as_question("roof", "xx", rng) for _ in range(50)} == {"roof"}
    assert {as_question("Why?", "en", rng) for _ in range(50)} == {"Why?"}


def test_held_out_translations_are_not_trained_on(shared_data: Path) -> None:
    training = list(translations(shared_data))
    held_out = list(translations(shared_data, held_out=True))

    assert {language for language, _, _ in held_out} == set(HELD_OUT_TRANSLATIONS)
    assert len(held_out) == sum(HELD_OUT_TRANSLATIONS.values())
    excluded = {text for _, *pair in held_out for text in pair}
    assert not excluded & {text for _, *pair in training for text in pair}
    assert len(training) > 8_000


def test_questions_come_from_the_training_part(shared_data: Path) -> None:
    corpora = shared_data / "corpora"
    evaluation = {
        json.loads(line)["text"]
        for file in corpora.glob("*_dev*/queries.jsonl")
        for line in file.read_text(encoding="utf-8").split("\n")
        if line
    }

    found = {pair.query for pair in question_pairs(shared_data)}

    assert len(found) > 2_000
    assert not found & evaluation


@pytest.mark.slow
def test_no_training_text_is_in_an_evaluation_set(shared_data: Path) -> None:
    excluded = evaluation_texts(shared_data)
    sections = read_sections(shared_data / "text")
    texts = [text for section in sections for text in (section.heading, section.body)]
    texts += [text for pair in question_pairs(shared_data) for text in (pair.query, pair.document)]
    texts += [text for _, *pair in translations(shared_data) for text in pair]

    assert len(excluded) > 15_000
    assert not excluded & {normalised(text) for text in texts}
