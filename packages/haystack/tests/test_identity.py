"""One document that several queries find stays one document, whatever merges the results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers import MultiQueryEmbeddingRetriever, MultiQueryTextRetriever
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy

from haystack_integrations.components.embedders.qwen3_rag import (
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
from qwen3_rag import Hit, RankScore
from qwen3_rag_testkit.backends import TextBackend

TEXTS = ["Paris is the capital of France.", "Bread is baked.", "The capital of Peru is Lima."]
QUERIES = ["the capital of France", "France's seat of government", "Lima and Peru"]
BACKEND = TextBackend(dim=64)


@pytest.fixture
def store() -> Iterator[InMemoryDocumentStore]:
    """Documents whose ids Haystack makes of what is in them."""
    made = InMemoryDocumentStore()
    documents = [Document(content=text) for text in TEXTS]
    made.write_documents(Qwen3DocumentEmbedder("m", backend=BACKEND).run(documents)["documents"])
    yield made
    made.shutdown()


def retriever(store: InMemoryDocumentStore, *, ranker: bool = True) -> Qwen3HybridRetriever:
    return Qwen3HybridRetriever(
        store,
        Qwen3TextEmbedder("m", backend=BACKEND),
        ranker=Qwen3Ranker("m", backend=BACKEND) if ranker else None,
    )


def stored(store: InMemoryDocumentStore) -> list[str]:
    return sorted(document.id for document in store.filter_documents())


@pytest.mark.parametrize("ranker", [True, False])
def test_many_queries_find_each_document_once_with_its_best_score(
    store: InMemoryDocumentStore, ranker: bool
) -> None:
    one = retriever(store, ranker=ranker)
    each = [one.run(query)["documents"] for query in QUERIES]
    ranks = [document.meta["search_ranks"] for documents in each for document in documents]
    assert all(other != ranks[0] for other in ranks[1:])
    many = MultiQueryTextRetriever(retriever=one)

    for found in (many.run(QUERIES), asyncio.run(many.run_async(QUERIES))):
        assert sorted(document.id for document in found["documents"]) == stored(store)
        for document in found["documents"]:
            scores = [d.score for documents in each for d in documents if d.id == document.id]
            assert document.score == max(scores)


def test_many_query_vectors_find_each_document_once(store: InMemoryDocumentStore) -> None:
    many = MultiQueryEmbeddingRetriever(
        retriever=InMemoryEmbeddingRetriever(store),
        query_embedder=Qwen3TextEmbedder("m", backend=BACKEND),
    )
    ranker = Qwen3Ranker("m", backend=BACKEND)

    for found in (many.run(QUERIES), asyncio.run(many.run_async(QUERIES))):
        assert sorted(document.id for document in found["documents"]) == stored(store)
        ranked = ranker.run(QUERIES[0], found["documents"])["documents"]
        assert sorted(document.id for document in ranked) == stored(store)


@pytest.mark.parametrize(
    "mode",
    ["concatenate", "merge", "reciprocal_rank_fusion", "distribution_based_rank_fusion"],
)
def test_a_joiner_merges_what_two_retrievers_found(store: InMemoryDocumentStore, mode: str) -> None:
    pipeline = Pipeline()
    for name in ("first", "second"):
        pipeline.add_component(name, retriever(store))
        pipeline.add_component(f"{name}_ranker", Qwen3Ranker("m", backend=BACKEND))
        pipeline.connect(name, f"{name}_ranker.documents")
    pipeline.add_component("joiner", DocumentJoiner(join_mode=mode))
    pipeline.connect("first_ranker", "joiner")
    pipeline.connect("second_ranker", "joiner")
    asked = {
        name: {"query": query}
        for start, query in zip(("first", "second"), QUERIES, strict=False)
        for name in (start, f"{start}_ranker")
    }

    result = pipeline.run(asked, include_outputs_from={"first_ranker", "second_ranker"})

    joined = {document.id: document.score for document in result["joiner"]["documents"]}
    assert len(result["joiner"]["documents"]) == len(joined)
    assert sorted(joined) == stored(store)
    if mode == "merge":
        lists = [result[name]["documents"] for name in ("first_ranker", "second_ranker")]
        for id_, score in joined.items():
            parts = [d.score for documents in lists for d in documents if d.id == id_]
            assert score == pytest.approx(sum(parts) / 2)


def test_documents_that_were_found_are_not_stored_twice(store: InMemoryDocumentStore) -> None:
    before = stored(store)
    writer = DocumentWriter(store, policy=DuplicatePolicy.OVERWRITE)

    for query in QUERIES:
        writer.run(retriever(store).run(query)["documents"])

    assert stored(store) == before


class Ranked:
    """A `Searcher` whose hits have ranks that differ from query to query."""

    def search(self, query: str, **settings: object) -> list[Hit]:
        place = RankScore(len(query), len(query) / 100)
        return [Hit(7, "text", place.score, {"page": 1}, {"fused": place})]

    async def asearch(self, query: str, **settings: object) -> list[Hit]:
        return self.search(query)


def test_many_queries_of_a_searcher_find_each_hit_once() -> None:
    many = MultiQueryTextRetriever(retriever=Qwen3HybridRetriever(Ranked()))

    [found] = many.run(QUERIES)["documents"]

    assert (found.id, found.score) == ("7", max(len(query) for query in QUERIES) / 100)
