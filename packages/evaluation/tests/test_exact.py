"""The search in memory finds what a store finds, and its runs are evaluated."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from qwen3_rag import InputError, Qwen3Reranker
from qwen3_rag.fusion import FusionMethod
from qwen3_rag.search import SearchPipeline
from qwen3_rag_evaluation import (
    BM25Index,
    DenseIndex,
    ExactSearcher,
    Outcome,
    evaluate,
    run_queries,
)
from qwen3_rag_hybrid import Document, HybridSearcher, open_store
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.store_corpus import make_embedder

SUBJECTS = ["river", "bread", "disk error", "capital city", "수도", "검색", "Straße"]
PLACES = ["Paris", "Berlin", "서울", "E_4711", "3.11.2"]
DOCUMENTS = {
    f"{subject} of {place}": f"The {subject} of {place}" + f" in {place}" * (number % 3)
    for number, (subject, place) in enumerate((s, p) for s in SUBJECTS for p in PLACES)
} | {f"twin {number:02}": "The same text in Paris" for number in range(30)}
QUERIES = {query: query for query in [*SUBJECTS, *PLACES, "the same text", "of Paris and Berlin"]}


@pytest.mark.parametrize("fusion", ["relative_score", "rrf"])
@pytest.mark.parametrize("reranked", [False, True])
def test_it_finds_what_a_store_finds(tmp_path: Path, fusion: FusionMethod, reranked: bool) -> None:
    pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")
    embedder = make_embedder(128)
    reranker = Qwen3Reranker("any", backend=DeterministicBackend()) if reranked else None
    pipeline = SearchPipeline(
        embedder=embedder, reranker=reranker, candidates=20, rerank_depth=8, fusion=fusion
    )
    exact = ExactSearcher(
        pipeline, DOCUMENTS, dense=DenseIndex.of(embedder, DOCUMENTS), bm25=BM25Index(DOCUMENTS)
    )
    with closing(open_store(str(tmp_path / "index"))) as store:
        other = HybridSearcher(store, embedder, reranker).tuned(
            candidates=20, rerank_depth=8, fusion=fusion
        )
        other.create()
        other.add([Document(id_, text) for id_, text in DOCUMENTS.items()])

        got, expected = (run_queries(one, QUERIES, limit=15) for one in (exact, other))

        assert got.run == expected.run
        assert got.before_reranking == expected.before_reranking
        for query, hits in got.hits.items():
            for hit, same in zip(hits, expected.hits[query], strict=True):
                assert hit.text == same.text
                assert hit.ranks.keys() == same.ranks.keys()
                for name, place in hit.ranks.items():
                    assert place.rank == same.ranks[name].rank
                    assert place.score == pytest.approx(same.ranks[name].score, abs=2e-5)


def test_each_retriever_can_be_measured_alone() -> None:
    embedder = make_embedder(128)
    pipeline = SearchPipeline(embedder=embedder)
    dense = ExactSearcher(pipeline, DOCUMENTS, dense=DenseIndex.of(embedder, DOCUMENTS))
    bm25 = ExactSearcher(pipeline, DOCUMENTS, bm25=BM25Index(DOCUMENTS))

    [*by_vector] = dense.search("E_4711", limit=100)
    [*by_terms] = bm25.search("E_4711", limit=100)

    assert len(by_vector) == len(DOCUMENTS)
    assert {hit.id for hit in by_terms} == {id_ for id_ in DOCUMENTS if "E_4711" in id_}
    assert {*by_vector[0].ranks} == {"dense", "fused"}
    assert {*by_terms[0].ranks} == {"bm25", "fused"}
    with pytest.raises(InputError, match="`dense`, `bm25` or both"):
        ExactSearcher(pipeline, DOCUMENTS)


def test_a_query_whose_terms_are_in_no_document_finds_nothing_by_terms() -> None:
    searcher = ExactSearcher(
        SearchPipeline(embedder=make_embedder(128)), DOCUMENTS, bm25=BM25Index(DOCUMENTS)
    )

    assert searcher.search("xylophone") == []


def test_it_answers_async_and_takes_no_filter() -> None:
    embedder = make_embedder(128)
    searcher = ExactSearcher(
        SearchPipeline(embedder=embedder), DOCUMENTS, dense=DenseIndex.of(embedder, DOCUMENTS)
    )

    assert asyncio.run(searcher.asearch("bread")) == searcher.search("bread")
    with pytest.raises(InputError, match="no fields to filter by"):
        searcher.search("bread", filter={"path": "a"})


def test_runs_of_all_queries_are_timed_and_evaluated() -> None:
    embedder = make_embedder(128)
    searcher = ExactSearcher(
        SearchPipeline(embedder=embedder), DOCUMENTS, bm25=BM25Index(DOCUMENTS)
    )
    done: list[int] = []

    outcome = run_queries(searcher, QUERIES, limit=5, progress=done.append)

    assert isinstance(outcome, Outcome)
    assert sum(done) == len(outcome.seconds) == len(QUERIES)
    assert all(seconds > 0 for seconds in outcome.seconds)
    qrels = {query: {f"{query} of Paris": 1} for query in SUBJECTS}
    assert evaluate(outcome.run, qrels).interval("recall@10").mean == 1.0
