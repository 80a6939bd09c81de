"""The lexical encoder: what a term weighs, where it lands, and what is found by it."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import ENCODER_VERSION, BM25Encoder, mean_length, tokens
from qwen3_rag.lexical import _encoder as encoder

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
        encoder.term_index("red"): pytest.approx(3 * 2.5 / (3 + norm)),
        encoder.term_index("blue"): pytest.approx(1 * 2.5 / (1 + norm)),
    }


def test_defaults_are_those_the_collection_records() -> None:
    assert BM25Encoder().parameters == {
        "encoder_version": ENCODER_VERSION,
        "k1": 1.2,
        "b": 0.75,
        "avg_len": 256.0,
    }


def test_settings_survive_json_and_rebuild_the_encoder() -> None:
    settings = json.loads(json.dumps(BM25Encoder(k1=0.9, b=0.4, avg_len=120).parameters))

    settings.pop("encoder_version")
    assert BM25Encoder(**settings) == BM25Encoder(k1=0.9, b=0.4, avg_len=120)


def test_length_counts_every_term_so_it_is_that_of_the_tokens() -> None:
    text = "max_length 검색은 search, search"
    exact = BM25Encoder(avg_len=len(tokens(text)))

    found = exact.encode_document(text).as_dict()[encoder.term_index("max")]

    assert found == pytest.approx(1.0)  # at the mean length a single occurrence weighs 1


def test_query_terms_weigh_one_each_however_often_said() -> None:
    vector = BM25Encoder().encode_query("red red max_length")

    assert vector.as_dict() == dict.fromkeys(
        map(encoder.term_index, ["red", "maxlength", "max", "length"]), 1.0
    )


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
        assert len(vector) == len(set(tokens(text)))


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
    assert encoder.term_index("123456789") == 0xCBF43926
    assert encoder.term_index("검색") == 0xA571ADC0


def test_index_stays_below_the_highest_that_milvus_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "crc32", lambda _: 0xFFFFFFFF)

    assert encoder.term_index("any") == 0


def test_terms_that_share_an_index_count_as_one_term() -> None:
    # The best-known pair of English words with one CRC-32.
    assert encoder.term_index("plumless") == encoder.term_index("buckeroo")

    document = BM25Encoder(avg_len=2).encode_document("plumless buckeroo")
    query = BM25Encoder().encode_query("plumless buckeroo")

    assert document.values.tolist() == [pytest.approx(2 * 2.2 / (2 + 1.2))]
    assert query.values.tolist() == [1.0]


def _collisions(vocabulary: set[str]) -> tuple[int, float]:
    """Terms that share an index with another, counted and as chance has it."""
    chance = len(vocabulary) ** 2 / 2 / 2**32
    return len(vocabulary) - len({encoder.term_index(term) for term in vocabulary}), chance


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


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        "squad_dev_v1.1",
        "tydiqa_ko_dev",
        "tydiqa_ko_train",
        "cmrc2018_dev",
        "xquad_ar",
        "xquad_ru",
    ],
)
def test_promised_ndcg_is_reached_and_the_constant_length_costs_little(name: str) -> None:
    benchmark = _benchmark()

    row = benchmark.measure(benchmark.read(DATA / "corpora" / name))

    assert row.ndcg_true_mean >= benchmark.FLOORS[name]
    assert row.ndcg_true_mean - row.ndcg_default <= 0.01


def test_benchmark_scores_by_hand_computed_ndcg() -> None:
    benchmark = _benchmark()
    corpus = benchmark.Corpus(
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
        [sys.executable, str(REPOSITORY / "benchmarks" / "lexical.py"), "--data", str(tmp_path)],
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


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "lexical_benchmark", REPOSITORY / "benchmarks" / "lexical.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_query_terms_are_the_terms_that_the_query_vector_holds() -> None:
    text = "parse max_length of Parsing, parsing"

    found = BM25Encoder().query_terms(text)

    assert {encoder.term_index(term) for term in found} == set(
        BM25Encoder().encode_query(text).as_dict()
    )


def test_the_mean_length_counts_terms_with_repeats() -> None:
    assert mean_length(["red red apple", "apple"]) == 2.0


@pytest.mark.parametrize("texts", [[], ["", "?!"]])
def test_a_mean_length_of_nothing_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="at least one text"):
        mean_length(texts)
