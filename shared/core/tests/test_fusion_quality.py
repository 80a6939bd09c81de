"""The default fusion is worth having: it is not much worse than the better of its retrievers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the dense vectors are computed")
pytest.importorskip("qwen3_rag_tiny", reason="the dense vectors are those of the tiny model")

from benchmarks import hybrid_quality
from benchmarks.corpora import DEFAULT_DATA, Corpus, bm25, ndcg, read, top
from benchmarks.dense_sides import DenseSide

needs_data = pytest.mark.skipif(
    not (DEFAULT_DATA / "corpora").is_dir(), reason=f"no corpora in {DEFAULT_DATA.name}/"
)


def part(name: str, documents: int) -> Corpus:
    """The first documents of a corpus, and the queries about them."""
    corpus = read(DEFAULT_DATA / "corpora" / name)
    kept = dict(list(corpus.documents.items())[:documents])
    return Corpus(
        name,
        kept,
        {id_: text for id_, text in corpus.queries.items() if kept.keys() & corpus.relevant[id_]},
        corpus.relevant,
    )


@needs_data
@pytest.mark.parametrize("name", ["xquad_de", "tydiqa_ko_dev"])
def test_a_weak_dense_model_does_not_pull_bm25_down(name: str, tmp_path: Path) -> None:
    row = hybrid_quality.measure(DenseSide("tiny", tmp_path), part(name, 80), 100)

    assert row.dense < row.bm25 - 0.05
    assert row.gain > -hybrid_quality.LARGEST_LOSS
    assert row.fused["default"] > row.fused["RRF"]


# The benchmark's own parts, on a collection whose figures are known on paper.

TOY = Corpus(
    "toy",
    {"a": "red red apple", "b": "green apple", "c": "blue"},
    {"1": "red", "2": "apple", "3": "blue", "4": "yellow"},
    {"1": {"b": 1}, "2": {"b": 1}, "3": {"c": 1}, "4": {"a": 1}},
)


def test_bm25_ranks_only_what_shares_a_term() -> None:
    found = {query: [id_ for id_, _ in hits] for query, hits in bm25(TOY).items()}

    assert found == {"1": ["a"], "2": ["b", "a"], "3": ["c"], "4": []}
    assert ndcg(TOY, found) == pytest.approx((0 + 1 + 1 + 0) / 4)


def test_ndcg_counts_grades_ranks_and_queries_without_results() -> None:
    graded = dataclasses.replace(TOY, relevant={**TOY.relevant, "1": {"b": 1, "a": 2}})

    figure = ndcg(graded, {"1": ["b", "a"], "2": ["a", "c", "b"], "3": []})

    ideal = 2 + 1 / np.log2(3)
    assert figure == pytest.approx(((1 + 2 / np.log2(3)) / ideal + 1 / 2) / 4)


def test_top_orders_ties_as_the_corpus_does() -> None:
    assert top(TOY, np.array([1.0, 2.0, 2.0]), 2) == [("b", 2.0), ("c", 2.0)]


def test_a_sample_is_the_same_every_time() -> None:
    assert TOY.sample(2).queries == TOY.sample(2).queries
    assert len(TOY.sample(2).queries) == 2
    assert TOY.sample(4) is TOY


def row(dense: float, bm25: float, default: float) -> hybrid_quality.Row:
    return hybrid_quality.Row("tiny", "toy", 3, 4, dense, bm25, {"default": default})


def test_limits_name_what_missed_them() -> None:
    missed = hybrid_quality.failures([row(0.5, 0.6, 0.56), row(0.5, 0.6, 0.61)])

    assert missed == ["tiny, toy: the default changes the better retriever by -0.040"]
    assert hybrid_quality.failures([row(0.3, 0.6, 0.5), row(0.5, 0.6, 0.61)]) == []
    assert hybrid_quality.failures([row(0.5, 0.6, 0.59), row(0.7, 0.6, 0.69)]) == [
        "tiny: the default beats the better retriever 0 of 2 times"
    ]
