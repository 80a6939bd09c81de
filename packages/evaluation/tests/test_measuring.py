"""Configurations are measured with the real tiny models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the models need torch")
pytest.importorskip("qwen3_rag_tiny", reason="the models are the tiny ones")

from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import EmbedPrompt
from qwen3_rag_evaluation import Collection, Configuration, Result, evaluate, measure
from qwen3_rag_testkit.backends import CountingBackend

DOCUMENTS = {
    "paris": "Paris is the capital of France.",
    "berlin": "Berlin is the capital of Germany.",
    "bread": "Bread is baked from flour, water and yeast.",
    "disk": "The disk is full: delete files, or add space.",
    "river": "The Rhine flows through Basel and Cologne.",
    "index": "An index is a data structure that speeds up searches.",
}
QUERIES = {
    "q1": "Which city is the capital of France?",
    "q2": "How is bread made?",
    "q3": "What to do when no space is left on the disk?",
}
QRELS: dict[str, dict[str, float]] = {"q1": {"paris": 1}, "q2": {"bread": 1}, "q3": {"disk": 2}}
COLLECTION = Collection("small", DOCUMENTS, QUERIES, QRELS)


def test_each_configuration_has_its_quality_and_its_cost() -> None:
    told: list[Result] = []
    configurations = [
        Configuration(model="tiny", retrieval="dense"),
        Configuration(model="tiny", retrieval="dense", dim=64),
        Configuration(model="tiny", retrieval="bm25"),
        Configuration(model="tiny", reranker="tiny", rerank_depth=3),
    ]

    metrics = ["ndcg@3", "mrr@10"]

    results = measure(COLLECTION, configurations, metrics=metrics, on_result=told.append)

    assert results == told
    assert [one.configuration for one in results] == configurations
    dense, short, terms, reranked = results
    assert dense.cost.index_bytes == 8 * short.cost.index_bytes == len(DOCUMENTS) * 512 * 4
    assert terms.cost.index_bytes == 0
    assert dense.cost.tokens == short.cost.tokens
    assert (dense.cost.tokens or 0) > 40
    assert dense.cost.cut == 0
    assert {*dense.cost.seconds} == {"embed", "retrieve"}
    assert {*terms.cost.seconds} == {"retrieve"}
    assert {*reranked.cost.seconds} == {"embed", "retrieve", "rerank"}
    for one in results:
        assert one.scores.values == evaluate(one.outcome.run, QRELS, metrics).values


def test_the_vectors_are_those_of_the_embedder_of_this_size() -> None:
    [got] = measure(COLLECTION, [Configuration(model="tiny", retrieval="dense", dim=64)])

    with Qwen3Embedder("tiny", dim=64) as embedder:
        cosines = embedder.embed_queries([*QUERIES.values()]) @ (
            embedder.embed_documents([*DOCUMENTS.values()]).T
        )
    for row, hits in zip(cosines, got.outcome.hits.values(), strict=True):
        expected = dict(zip(DOCUMENTS, row.tolist(), strict=True))
        assert [hit.ranks["dense"].score for hit in hits] == pytest.approx(
            sorted(expected.values(), reverse=True), abs=1e-5
        )


@pytest.mark.parametrize("is_kept", [False, True])
def test_no_text_is_computed_twice_for_the_rankings(tmp_path: Path, is_kept: bool) -> None:
    backend = CountingBackend(f"evaluated {is_kept}")
    configurations = [
        Configuration(model="any", retrieval="dense", dim=dim, model_options={"backend": backend})
        for dim in (64, 48, 32)
    ]
    cache = tmp_path / "cache.sqlite" if is_kept else None

    for _ in range(2):
        measure(COLLECTION, configurations, cache=cache)

    times = Counter(one.text for one in backend.uses.prompts if isinstance(one, EmbedPrompt))
    assert {times[text] for text in DOCUMENTS.values()} == {1 if is_kept else 2}
    # Once for the ranking, and each time that the search is timed.
    assert {times[text] for text in QUERIES.values()} == {(1 if is_kept else 2) + 6}


def test_an_unknown_model_and_metric_are_errors() -> None:
    with pytest.raises(InputError, match="is no metric"):
        measure(COLLECTION, [Configuration(model="tiny", retrieval="bm25")], metrics=["best"])
    with pytest.raises(InputError, match="`dim` must be"):
        measure(COLLECTION, [Configuration(model="tiny", retrieval="dense", dim=9_999)])


def test_texts_that_were_cut_are_counted() -> None:
    collection = Collection("long", {**DOCUMENTS, "long": "word " * 300}, QUERIES, QRELS)
    configuration = Configuration(
        model="tiny", retrieval="dense", model_options={"max_length": 100}
    )

    [got] = measure(collection, [configuration])

    assert got.cost.cut == 1


def test_reranking_moves_hits_and_the_order_before_is_kept() -> None:
    [got] = measure(COLLECTION, [Configuration(model="tiny", reranker="tiny", rerank_depth=6)])

    with Qwen3Reranker("tiny") as reranker:
        for query, hits in got.outcome.hits.items():
            expected = reranker.score([(QUERIES[query], hit.text) for hit in hits])
            assert [hit.score for hit in hits] == pytest.approx(list(expected), abs=1e-5)
    before = got.outcome.before_reranking
    assert {query: sorted(ids) for query, ids in before.items()} == {
        query: sorted(ids) for query, ids in got.outcome.run.items()
    }
    assert before != got.outcome.run
