"""`Qwen3HybridRetriever` over a `Searcher`, which embeds, fuses and reranks by itself."""

from __future__ import annotations

from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.core.errors import SerializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from qdrant_client import QdrantClient

from haystack_integrations.components.embedders.qwen3_rag import Qwen3TextEmbedder
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
from qwen3_rag import Hit, InputError, Qwen3Embedder, Qwen3Reranker, RankScore
from qwen3_rag_testkit.backends import TextBackend

QUERY = "capital of France"


class Notes:
    """A `Searcher` that notes how it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
        **others: Any,
    ) -> list[Hit]:
        self.asked.append(
            {"query": query, "limit": limit, "filter": filter, "instruction": instruction, **others}
        )
        ranks = {"dense": RankScore(2, 0.5), "fused": RankScore(1, 0.03)}
        return [
            Hit("a", "text\nof a", 0.03, {"page": 1}, ranks),
            Hit(7, "text of 7", 0.02, {}, {}),
        ][:limit]

    async def asearch(self, query: str, **settings: Any) -> list[Hit]:
        hits = self.search(query, **settings)
        self.asked[-1]["awaited"] = True
        return hits


async def test_a_searcher_is_asked_and_its_hits_become_documents() -> None:
    searcher = Notes()
    component = Qwen3HybridRetriever(searcher, filters="own filter", top_k=5, instruction="Find")
    component.warm_up()

    found = component.run(QUERY)

    assert found["documents"] == [
        Document(
            id="a",
            content="text\nof a",
            score=0.03,
            meta={
                "page": 1,
                "search_ranks": {
                    "dense": {"rank": 2, "score": 0.5},
                    "fused": {"rank": 1, "score": 0.03},
                },
            },
        ),
        Document(id="7", content="text of 7", score=0.02, meta={"search_ranks": {}}),
    ]
    assert await component.run_async(QUERY) == found
    component.run(QUERY, "another", top_k=1, instruction="Find laws")
    own = {"query": QUERY, "limit": 5, "filter": "own filter", "instruction": "Find"}
    other = {"query": QUERY, "limit": 1, "filter": "another", "instruction": "Find laws"}
    assert searcher.asked == [own, {**own, "awaited": True}, other]
    component.close()
    await component.close_async()


async def test_a_hybrid_searcher_is_a_searcher() -> None:
    hybrid = pytest.importorskip("qwen3_rag_hybrid")
    client = QdrantClient(":memory:")
    searcher = hybrid.HybridSearcher(
        hybrid.QdrantStore(client, "documents"),
        Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64)),
        Qwen3Reranker("test/reranker", backend=TextBackend("reranking")),
    )
    searcher.create()
    countries = ["Kenya", "France", "Peru"]
    searcher.add(
        [hybrid.Document(name, f"The capital of {name}.", {"page": 1}) for name in countries]
    )
    component = Qwen3HybridRetriever(searcher)

    found = component.run(QUERY)

    best = found["documents"][0]
    assert (best.id, best.content) == ("France", "The capital of France.")
    assert best.meta.keys() == {"page", "search_ranks"}
    assert best.meta["search_ranks"]["rerank"] == {"rank": 1, "score": best.score}
    assert best.meta["search_ranks"].keys() == {"dense", "bm25", "fused", "rerank"}
    assert await component.run_async(QUERY) == found
    component.close()
    assert component.run(QUERY) == found  # it is the caller's to close
    searcher.close()
    client.close()


async def test_a_search_is_for_a_tenant() -> None:
    hybrid = pytest.importorskip("qwen3_rag_hybrid")
    searcher = hybrid.HybridSearcher(
        hybrid.QdrantStore(QdrantClient(":memory:"), "documents"),
        Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64)),
    )
    searcher.create(tenants=True)
    searcher.add([hybrid.Document("mine", "The capital of France.")], tenant="acme")
    searcher.add([hybrid.Document("theirs", "The capital of Peru.")], tenant="globex")
    component = Qwen3HybridRetriever(searcher)

    found = component.run(QUERY, tenant="acme")

    assert [document.id for document in found["documents"]] == ["mine"]
    assert await component.run_async(QUERY, tenant="acme") == found
    with pytest.raises(InputError, match="has tenants"):
        component.run(QUERY)


def test_a_document_store_has_no_tenants() -> None:
    embedder = Qwen3TextEmbedder(backend=TextBackend("embedding", 64))
    component = Qwen3HybridRetriever(InMemoryDocumentStore(), embedder)

    with pytest.raises(InputError, match="`tenant` was given beside a InMemoryDocumentStore"):
        component.run(QUERY, tenant="acme")


def test_a_searcher_is_not_written_down() -> None:
    pipeline = Pipeline()
    pipeline.add_component("it", Qwen3HybridRetriever(Notes()))

    with pytest.raises(SerializationError, match=r"holds a Notes.*QdrantDocumentStore"):
        pipeline.dumps()


@pytest.mark.parametrize(
    "settings",
    [
        {"text_embedder": Qwen3TextEmbedder()},
        {"ranker": Qwen3Ranker()},
        {"candidates": 50},
        {"rerank_depth": 5},
        {"weights": {"dense": 2}},
        {"fusion": "rrf"},
        {"k": 10},
    ],
)
def test_what_a_searcher_does_itself_is_refused(settings: dict[str, Any]) -> None:
    [name] = settings

    with pytest.raises(InputError, match=rf"`{name}` was given beside a searcher.*Notes"):
        Qwen3HybridRetriever(Notes(), **settings)


def test_a_searcher_can_return_more_than_the_stores_candidates() -> None:
    searcher = Notes()

    Qwen3HybridRetriever(searcher, top_k=500).run(QUERY)

    assert searcher.asked[0]["limit"] == 500


@pytest.mark.parametrize("name", ["ids", "tenant", "min_score", "group_by", "per_group"])
def test_what_only_a_searcher_takes_is_refused_beside_a_store(name: str) -> None:
    store = InMemoryDocumentStore()

    with pytest.raises(InputError, match=rf"`{name}` was given beside a InMemoryDocumentStore"):
        Qwen3HybridRetriever(store, Qwen3TextEmbedder(), **{name: 1})  # type: ignore[arg-type]
