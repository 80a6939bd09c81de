"""The lexical benchmark: its variants of the encoder, its limits, and its larger collection."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import lexical_peers, lexical_scale
from benchmarks.both_sides import best
from benchmarks.lexical_peers import Comparison
from benchmarks.lexical_variants import (
    repeats_in_full,
    repeats_once,
    stems_alone,
    stop_words_kept,
)
from qwen3_rag.lexical import BM25Encoder, tokens

encoder = BM25Encoder()


def weights(query: str) -> list[float]:
    return sorted(encoder.encode_query(query).values.tolist())


# Each variant lacks the rule that it names, and the rule is back afterwards.


def test_variant_keeps_stop_words() -> None:
    with stop_words_kept():
        assert weights("what is the red") == [1, 1, 1, 1]
    assert weights("what is the red") == [1]


def test_variant_counts_repeats_once() -> None:
    with repeats_once():
        assert weights("red Red blue") == [1, 1]
    assert weights("red Red blue") == pytest.approx([1, 1.8])


def test_variant_counts_repeats_in_full() -> None:
    with repeats_in_full():
        assert weights("red red red red blue") == pytest.approx([1, 4])
    assert weights("red red red red blue") == pytest.approx([1, 3])


def test_variant_has_stems_without_their_beginnings() -> None:
    with stems_alone():
        assert tokens("photographs of_it") == ["photograph", "ofit", "of", "it"]
    assert tokens("photographs of_it") == ["photog", "photograph", "ofit", "of", "it"]


# The comparison with the peers.


@pytest.mark.parametrize(
    ("corpus", "own", "good"),
    [
        ("xquad_de", 0.896, True),
        ("xquad_de", 0.894, False),
        ("xquad_es", 0.894, True),
        ("cisi", 0.889, False),
    ],
)
def test_corpus_is_missed_when_the_best_peer_is_better_by_more_than_the_limit(
    corpus: str, own: float, good: bool
) -> None:
    row = Comparison(corpus, "german", own, {"first": 0.85, "second": 0.9})

    assert row.good is good
    assert ("MISSED" in lexical_peers.table([row])) is not good
    assert [line.split(",")[1].strip() for line in lexical_peers.failures([row])] == (
        [] if good else ["second 0.9000"]
    )


def test_best_places_keep_the_order_of_ties_and_leave_out_what_was_not_found() -> None:
    scores = np.array([0.0, 1.0, 2.0, 1.0, 2.0, 0.0])

    assert best(scores, depth=3, above=0.0).tolist() == [2, 4, 1]
    assert best(scores, above=0.0).tolist() == [2, 4, 1, 3]
    assert best(scores).tolist() == [2, 4, 1, 3, 0, 5]


# The larger collection.

SEARCHED = (
    "Photographs of the old harbour show ships with three masts and a crew of sailors at work"
)
OTHER = "Lines of a configuration file are read from the beginning to the end by the program"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, texts in (
        ("squad_dev_v1.1", [SEARCHED]),
        ("tydiqa_en_dev", [f"As was said: {SEARCHED}.", OTHER]),
    ):
        folder = tmp_path / "corpora" / name
        folder.mkdir(parents=True)
        rows = [{"_id": str(place), "text": text} for place, text in enumerate(texts)]
        (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        (folder / "queries.jsonl").write_text('{"_id": "q", "text": "photographs"}', "utf-8")
        (folder / "qrels.tsv").write_text("query\tdocument\tgrade\nq\t0\t1\n", encoding="utf-8")
    (tmp_path / "text").mkdir()
    for language in "en", "de":
        page = f"# Short title\n\n{OTHER}\n\n{OTHER} in {language}\n"
        with gzip.open(
            tmp_path / "text" / f"x.{language}.jsonl.gz", "wt", encoding="utf-8"
        ) as file:
            file.write(json.dumps({"path": "x", "text": page}) + "\n")
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    (tmp_path / "texts" / "deep" / "page.rst").write_text(f"{OTHER} at last", encoding="utf-8")
    (tmp_path / "texts" / "code.py").write_text(f"{OTHER} as code", encoding="utf-8")
    return tmp_path


def test_other_paragraphs_are_english_differ_and_share_no_passage(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical_scale, "OTHERS", 3)
    alone, among = lexical_scale.measure(data, data / "texts")

    assert (alone.others, among.others) == (0, 3)
    assert alone.terms.ndcg == alone.stems.ndcg == among.terms.ndcg == among.stems.ndcg == 1
    assert alone.stems.mean_length == len(SEARCHED.split())
    assert alone.terms.mean_length > alone.stems.mean_length


def test_too_few_other_paragraphs_are_an_error_that_says_how_many(data: Path) -> None:
    with pytest.raises(SystemExit, match=r"needs 100,000 paragraphs, and there are 3\. .*texts'"):
        lexical_scale.measure(data, data / "texts")
