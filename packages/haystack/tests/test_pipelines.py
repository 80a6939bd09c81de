"""The components in pipelines and inside Haystack's own retrievers, sync and async."""

from __future__ import annotations

from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.embedders.types import DocumentEmbedder, TextEmbedder
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
    MultiQueryEmbeddingRetriever,
    TextEmbeddingRetriever,
)
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.retrievers.qdrant import QdrantHybridRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever

TEXTS = [
    "Paris is the capital of France.",
    "Berlin is the capital of Germany.",
    "Bananas are yellow.",
    "The disk is full,\nsays error E_4711.",
]
QUERY = "What is the capital of France?"


@pytest.fixture
def store() -> InMemoryDocumentStore:
    """A store filled by a pipeline."""
    made = InMemoryDocumentStore()
    indexing = Pipeline()
    indexing.add_component("embedder", Qwen3DocumentEmbedder("tiny"))
    indexing.add_component("writer", DocumentWriter(made))
    indexing.connect("embedder.documents", "writer.documents")
    indexing.run({"embedder": {"documents": [Document(content=text) for text in TEXTS]}})
    indexing.close()
    return made


def hybrid(store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("text_embedder", Qwen3TextEmbedder("tiny"))
    pipeline.add_component("dense", InMemoryEmbeddingRetriever(store, top_k=3))
    pipeline.add_component("bm25", InMemoryBM25Retriever(store, top_k=3))
    pipeline.add_component("joiner", DocumentJoiner())
    pipeline.add_component("ranker", Qwen3Ranker("tiny", top_k=2))
    pipeline.connect("text_embedder.embedding", "dense.query_embedding")
    pipeline.connect("dense", "joiner")
    pipeline.connect("bm25", "joiner")
    pipeline.connect("joiner", "ranker")
    return pipeline


def inputs(query: str = QUERY) -> dict[str, Any]:
    return {"text_embedder": {"text": query}, "bm25": {"query": query}, "ranker": {"query": query}}


def test_a_hybrid_pipeline_finds_the_answer(store: InMemoryDocumentStore) -> None:
    pipeline = hybrid(store)

    found = pipeline.run(inputs())["ranker"]["documents"]

    assert found[0].content == TEXTS[0]
    assert len(found) == 2
    assert pipeline.run(inputs("E_4711"))["ranker"]["documents"][0].content == TEXTS[3]
    pipeline.close()


async def test_a_hybrid_pipeline_does_the_same_in_an_event_loop(
    store: InMemoryDocumentStore,
) -> None:
    pipeline = hybrid(store)

    awaited = await pipeline.run_async(inputs())

    assert awaited == pipeline.run(inputs())
    await pipeline.close_async()
    pipeline.close()
    store.shutdown()


def test_a_hybrid_pipeline_read_from_yaml_does_the_same(store: InMemoryDocumentStore) -> None:
    pipeline = hybrid(store)

    again = Pipeline.loads(pipeline.dumps())  # a store in memory is found again by its index

    assert again.run(inputs()) == pipeline.run(inputs())
    again.close()
    pipeline.close()


def test_models_are_loaded_once_for_many_runs(store: InMemoryDocumentStore) -> None:
    pipeline = hybrid(store)
    pipeline.run(inputs())
    ranker: Any = pipeline.get_component("ranker")
    model = ranker.get_model()

    pipeline.run(inputs())

    assert ranker.get_model() is model
    pipeline.close()


def test_the_retriever_in_one_piece_does_it_too(store: InMemoryDocumentStore) -> None:
    pipeline = Pipeline()
    pipeline.add_component(
        "retriever",
        Qwen3HybridRetriever(store, Qwen3TextEmbedder("tiny"), ranker=Qwen3Ranker("tiny")),
    )

    found = pipeline.run({"retriever": {"query": QUERY}})["retriever"]["documents"]

    assert found[0].content == TEXTS[0]
    again = Pipeline.loads(pipeline.dumps())
    assert again.run({"retriever": {"query": QUERY}})["retriever"]["documents"] == found
    pipeline.close()
    again.close()


async def test_haystacks_retrievers_take_the_text_embedder(store: InMemoryDocumentStore) -> None:
    embedder: TextEmbedder = Qwen3TextEmbedder("tiny")
    dense = InMemoryEmbeddingRetriever(store, top_k=1)

    one = TextEmbeddingRetriever(retriever=dense, text_embedder=embedder)
    many = MultiQueryEmbeddingRetriever(retriever=dense, query_embedder=embedder)

    assert [hit.content for hit in one.run(QUERY)["documents"]] == TEXTS[:1]
    assert await one.run_async(QUERY) == one.run(QUERY)
    queries = [QUERY, "the capital of Germany"]
    assert {hit.content for hit in many.run(queries)["documents"]} == set(TEXTS[:2])
    assert {hit.content for hit in (await many.run_async(queries))["documents"]} == set(TEXTS[:2])
    loaded = TextEmbeddingRetriever.from_dict(one.to_dict())
    assert loaded.run(QUERY) == one.run(QUERY)
    loaded.close()
    one.close()
    store.shutdown()


def test_the_document_embedder_is_one_of_haystacks() -> None:
    embedder: DocumentEmbedder = Qwen3DocumentEmbedder("tiny")

    assert embedder.run([]) == {
        "documents": [],
        "meta": {"model": "tiny", "tokens": 0, "cut_at": {}},
    }


def test_the_bm25_embedders_feed_qdrants_own_hybrid_retriever() -> None:
    store = QdrantDocumentStore(
        ":memory:",
        embedding_dim=64,
        use_sparse_embeddings=True,
        sparse_idf=True,
        progress_bar=False,
    )
    indexing = Pipeline()
    indexing.add_component("dense", Qwen3DocumentEmbedder("tiny", dim=64))
    indexing.add_component("bm25", BM25SparseDocumentEmbedder())
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("dense.documents", "bm25.documents")
    indexing.connect("bm25", "writer")
    indexing.run({"dense": {"documents": [Document(content=text) for text in TEXTS]}})

    asking = Pipeline()
    asking.add_component("dense", Qwen3TextEmbedder("tiny", dim=64))
    asking.add_component("bm25", BM25SparseTextEmbedder())
    asking.add_component("retriever", QdrantHybridRetriever(store, top_k=1))
    asking.connect("dense.embedding", "retriever.query_embedding")
    asking.connect("bm25.sparse_embedding", "retriever.query_sparse_embedding")
    found = asking.run({"dense": {"text": QUERY}, "bm25": {"text": QUERY}})

    assert [hit.content for hit in found["retriever"]["documents"]] == TEXTS[:1]
    indexing.close()
    asking.close()
