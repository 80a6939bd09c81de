"""The lexical encoder: what a term weighs, where it lands, and what is found by it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import lexical as benchmark
from benchmarks.corpora import Corpus, read
from qwen3_rag.errors import InputError
from qwen3_rag.lexical import ENCODER_VERSION, BM25Encoder, tokens
from qwen3_rag.lexical import _indices as indices
from qwen3_rag.lexical._indices import document_indices, term_index

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = REPOSITORY.parent / "shared"
needs_data = pytest.mark.skipif(
    not (DATA / "corpora").is_dir(), reason=f"no corpora at {DATA / 'corpora'}"
)


# Weights.


def test_document_weights_are_bm25_without_idf() -> None:
    vector = BM25Encoder(k1=1.5, b=0.5, avg_len=4).encode_document("Red red red. Blue?")

    norm = 1.5 * (1 - 0.5 + 0.5 * 4 / 4)
    weights = vector.as_dict()
    assert weights == {
        term_index("red"): pytest.approx(3 * 2.5 / (3 + norm)),
        term_index("blue"): pytest.approx(1 * 2.5 / (1 + norm)),
    }


def test_defaults_are_those_the_collection_records() -> None:
    assert BM25Encoder().parameters == {
        "encoder_version": ENCODER_VERSION,
        "snowball": "3.1",
        "k1": 1.2,
        "b": 0.75,
        "avg_len": 256.0,
    }


def test_settings_survive_json_and_rebuild_the_encoder() -> None:
    settings = json.loads(json.dumps(BM25Encoder(k1=0.9, b=0.4, avg_len=120).parameters))

    del settings["encoder_version"], settings["snowball"]
    assert BM25Encoder(**settings) == BM25Encoder(k1=0.9, b=0.4, avg_len=120)


def test_length_counts_every_term_so_it_is_that_of_the_tokens() -> None:
    text = "max_length 검색은 search, search"
    exact = BM25Encoder(avg_len=len(tokens(text)))

    found = exact.encode_document(text).as_dict()[term_index("max")]

    assert found == pytest.approx(1.0)  # at the mean length a single occurrence weighs 1


def saturated(weight: float) -> Any:
    """The weight of a term that occurs with this weight in sum (Robertson's k3 is 8)."""
    return pytest.approx(weight * 9 / (weight + 8))


def weights(query: str) -> dict[int, float]:
    return BM25Encoder().encode_query(query).as_dict()


def test_repeats_in_a_query_count_less_and_less() -> None:
    assert weights("red red red blue") == {
        term_index("red"): saturated(3),
        term_index("blue"): saturated(1),
    }


def test_a_query_asks_for_the_beginning_of_a_word_and_a_little_for_its_stem() -> None:
    assert weights("documentation") == {
        term_index("docume"): saturated(1),
        term_index("document"): saturated(0.25),
    }


def test_two_spellings_share_the_weight_of_a_word() -> None:
    assert weights("Öl") == {term_index("ol"): saturated(0.5), term_index("oel"): saturated(0.5)}


def test_an_identifier_counts_as_a_whole_and_by_its_parts() -> None:
    assert weights("max_length") == {
        term_index(term): saturated(1) for term in ("maxlength", "max", "length")
    }


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("What is the capital of France?", ["capit", "franc"]),
        ("Wie hoch ist der Eiffelturm", ["hoch", "ist", "der", "eiffel"]),
        ("who's who", ["who"]),
        ("to be or not to be", ["or", "not"]),
        ("IT support", ["it", "suppor"]),
        ("HOW TO GIT", ["git"]),
        ("Quelle est la capitale", ["est", "la", "capita"]),
        ("where", ["where"]),
    ],
)
def test_stop_words_leave_a_query_unless_there_is_nothing_else(
    query: str, terms: list[str]
) -> None:
    found = Counter(BM25Encoder().query_terms(query))

    whole = [term for term, repeats in found.items() if repeats >= 4]
    assert [term for term in whole if term not in ("s", "whos")][: len(terms)] == terms


def test_stop_words_stay_in_documents() -> None:
    assert tokens("to be or not to be") == ["to", "be", "or", "not", "to", "be"]


def test_query_terms_repeat_each_term_by_four_times_its_weight() -> None:
    # 5 * 9 / (5 + 8) is 3.46; the whole stem has 0.25.
    assert Counter(BM25Encoder().query_terms("red red red red red documentation")) == {
        "red": 14,
        "docume": 4,
        "document": 1,
    }


@given(st.text())
def test_query_terms_are_empty_only_where_the_text_has_no_terms(text: str) -> None:
    found = BM25Encoder().query_terms(text)

    assert bool(found) == bool(tokens(text))
    assert {term_index(term) for term in found} <= set(weights(text))


MIXED = st.text(
    st.sampled_from("ab Z9_.-'/&#+öếй中國검색กาမ္क\u0301\u200b\U0001f600\U00020000\U00010330\ud800")
)


@given(st.text() | MIXED)
def test_documents_are_encoded_as_the_terms_that_they_are_split_into(text: str) -> None:
    assert sorted(document_indices(text).tolist()) == sorted(map(term_index, tokens(text)))


@given(st.text(alphabet="abc  _A.검색索引"))
def test_vectors_are_sorted_unique_read_only_and_of_the_right_types(text: str) -> None:
    for vector in (BM25Encoder().encode_document(text), BM25Encoder().encode_query(text)):
        assert vector.indices.dtype == np.uint32
        assert vector.values.dtype == np.float32
        assert vector.indices.shape == vector.values.shape == (len(vector),)
        assert (np.diff(vector.indices.astype(np.int64)) > 0).all()
        assert (vector.values > 0).all()
        assert not vector.indices.flags.writeable
        assert not vector.values.flags.writeable
        assert len(vector) <= len(set(tokens(text)))


def test_query_and_document_meet_at_the_same_indices() -> None:
    document = BM25Encoder().encode_document("Installing Qwen3-Embedding with 검색은")
    query = BM25Encoder().encode_query("install qwen3 embedding 검색")

    assert set(query.indices) <= set(document.indices)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("k1", value) for value in (-0.1, float("nan"), float("inf"))),
        *(("b", value) for value in (-0.1, 1.1, float("nan"))),
        *(("avg_len", value) for value in (0, -1, float("nan"), float("inf"))),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"`{name}`.*{value}"):
        BM25Encoder(**{name: value})


@pytest.mark.parametrize("settings", [{"k1": 0}, {"b": 0}, {"b": 1}, {"avg_len": 0.5}])
def test_settings_at_the_edge_of_their_range_are_accepted(settings: dict[str, float]) -> None:
    assert np.isfinite(BM25Encoder(**settings).encode_document("a b a").values).all()


def test_encoder_pickles() -> None:
    assert pickle.loads(pickle.dumps(BM25Encoder(b=0.5))) == BM25Encoder(b=0.5)


# Indices.


def test_index_is_crc32_of_utf8() -> None:
    # The check value of the CRC-32 standard, and the checksum that gzip writes for the word.
    assert term_index("123456789") == 0xCBF43926
    assert term_index("검색") == 0xA571ADC0


def test_index_stays_below_the_highest_that_milvus_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indices, "crc32", lambda _: 0xFFFFFFFF)

    assert term_index("any") == 0


def test_terms_that_share_an_index_count_as_one_term() -> None:
    one, other = "6367624370", "7281232721"  # found by trying
    assert term_index(one) == term_index(other)

    document = BM25Encoder(avg_len=2).encode_document(f"{one} {other}")
    query = BM25Encoder().encode_query(f"{one} {other}")

    assert document.values.tolist() == [pytest.approx(2 * 2.2 / (2 + 1.2))]
    assert query.values.tolist() == [2.0]


def _collisions(vocabulary: set[str]) -> tuple[int, float]:
    """Terms that share an index with another, counted and as chance has it."""
    chance = len(vocabulary) ** 2 / 2 / 2**32
    return len(vocabulary) - len({term_index(term) for term in vocabulary}), chance


def test_terms_of_pythons_documentation_do_not_collide() -> None:
    topics = pytest.importorskip("pydoc_data.topics").topics
    vocabulary = {term for text in topics.values() for term in tokens(text)}

    found, chance = _collisions(vocabulary)

    assert len(vocabulary) > 2_000
    assert chance < 0.1
    assert found == 0


@needs_data
def test_terms_of_all_corpora_collide_no_more_than_by_chance() -> None:
    vocabulary = {term for text in _corpus_texts() for term in tokens(text)}

    found, chance = _collisions(vocabulary)

    assert len(vocabulary) > 100_000
    assert found <= 2 * chance + 2


# What it finds.


SLOW = ("cosqa", "tydiqa_ko_train")


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        "cmrc2018_dev",
        "squad_dev_v1.1",
        "tydiqa_bn_dev",
        "tydiqa_en_dev",
        "tydiqa_fi_dev",
        "tydiqa_ko_dev",
        "xquad_ar",
        "xquad_de",
        "xquad_el",
        "xquad_es",
        "xquad_ru",
        "xquad_tr",
        "xquad_zh",
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
    ],
)
def test_promised_ndcg_is_reached_and_the_constant_length_costs_little(name: str) -> None:
    row = benchmark.measure(read(DATA / "corpora" / name))

    assert row.good, row


def test_benchmark_scores_by_hand_computed_ndcg() -> None:
    corpus = Corpus(
        name="tiny",
        documents={"a": "red red", "b": "red blue", "c": "green"},
        queries={"first": "red red", "second": "blue", "third": "green", "lost": "yellow"},
        relevant={"first": {"b": 1.0}, "second": {"b": 1.0}, "third": {"c": 1.0}, "lost": {"a": 1}},
    )

    row = benchmark.measure(corpus)

    # "a" has "red" twice, so "b" is second for it; nothing is found for "yellow".
    expected = (1 / np.log2(3) + 1 + 1 + 0) / 4
    assert row.ndcg_true_mean == pytest.approx(expected)
    assert row.mean_length == pytest.approx(5 / 3, abs=0.05)


def test_benchmark_without_data_says_where_it_looked(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.lexical", "--data", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert str(tmp_path / "corpora") in result.stderr
    assert "--data" in result.stderr
    assert "Traceback" not in result.stderr


def _corpus_texts() -> Iterator[str]:
    for path in sorted((DATA / "corpora").glob("*/corpus.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]
