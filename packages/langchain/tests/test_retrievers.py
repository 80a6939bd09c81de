"""Retrievers: the reranker behind any retriever, and any `Searcher` as a retriever."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackHandler,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError
from qdrant_client import QdrantClient, models

from langchain_qwen3_rag import (
    Qwen3Embeddings,
    Qwen3HybridRetriever,
    Qwen3Rerank,
    Qwen3RerankRetriever,
)
from qwen3_rag import InputError, StoreError
from qwen3_rag_hybrid import Document as HybridDocument
from qwen3_rag_hybrid import HybridSearcher, QdrantStore
from qwen3_rag_testkit.loops import keeps_ticking

QUERY = "What is the capital of France?"
PARIS = "Paris is the\ncapital of France 🥐"


def contents(documents: list[Document]) -> list[dict[str, Any]]:
    """All there is to documents: their equality leaves scores and ranks out."""
    return [document.model_dump() for document in documents]


class Fixed(BaseRetriever):
    """Finds the same texts always, and is serialisable."""

    texts: list[str]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, first: int = 0
    ) -> list[Document]:
        return [Document(page_content=text, id=text) for text in self.texts[first:]]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, first: int = 0
    ) -> list[Document]:
        return [Document(page_content=text, id=text) for text in self.texts[first:]]


@pytest.fixture
def found() -> Fixed:
    return Fixed(texts=["rain", "Paris is the capital of France", "France", "the disk"])


@pytest.fixture
def retriever(found: Fixed, text_rerank: Qwen3Rerank) -> Qwen3RerankRetriever:
    return Qwen3RerankRetriever(base_retriever=found, reranker=text_rerank)


def test_what_another_retriever_finds_is_reranked(
    retriever: Qwen3RerankRetriever, found: Fixed, text_rerank: Qwen3Rerank
) -> None:
    result = retriever.invoke(QUERY)

    assert contents(result) == contents(text_rerank.compress_documents(found.invoke(QUERY), QUERY))
    assert result[0].page_content == "Paris is the capital of France"
    assert len(result) == 4


async def test_async_and_batch_equal_sync(retriever: Qwen3RerankRetriever) -> None:
    queries = [QUERY, "disk"]
    expected = [contents(retriever.invoke(query)) for query in queries]

    assert [contents(await retriever.ainvoke(query)) for query in queries] == expected
    assert [contents(found) for found in retriever.batch(queries)] == expected
    assert [contents(found) for found in await retriever.abatch(queries)] == expected


def test_k_of_the_call_goes_before_the_field_and_that_before_top_n(
    found: Fixed, text_rerank: Qwen3Rerank
) -> None:
    one = text_rerank.model_copy(update={"top_n": 1})

    assert len(Qwen3RerankRetriever(base_retriever=found, reranker=one).invoke(QUERY)) == 1
    two = Qwen3RerankRetriever(base_retriever=found, reranker=one, k=2)
    assert len(two.invoke(QUERY)) == 2
    assert len(two.invoke(QUERY, k=3)) == 3


async def test_instructions_are_the_retrievers_own(found: Fixed, rerank: Qwen3Rerank) -> None:
    plain = Qwen3RerankRetriever(base_retriever=found, reranker=rerank)
    code = Qwen3RerankRetriever(base_retriever=found, reranker=rerank, instruction="Find code")

    expected = contents(code.invoke(QUERY))
    assert contents(plain.invoke(QUERY)) != expected
    assert contents(plain.invoke(QUERY, instruction="Find code")) == expected
    assert contents(await plain.ainvoke(QUERY, instruction="Find code")) == expected
    candidates = found.invoke(QUERY)
    assert expected == contents(
        rerank.compress_documents(candidates, QUERY, instruction="Find code")
    )


async def test_other_arguments_reach_the_other_retriever(retriever: Qwen3RerankRetriever) -> None:
    assert len(retriever.invoke(QUERY, first=1)) == 3
    assert len(await retriever.ainvoke(QUERY, first=1)) == 3


def test_any_runnable_that_returns_documents_will_do(text_rerank: Qwen3Rerank) -> None:
    documents = [Document(page_content="rain"), Document(page_content="capital of France")]
    retriever = Qwen3RerankRetriever(
        base_retriever=RunnableLambda(lambda _: documents), reranker=text_rerank, k=1
    )

    assert retriever.invoke(QUERY)[0].page_content == "capital of France"


def test_nothing_found_is_nothing_returned(text_rerank: Qwen3Rerank) -> None:
    retriever = Qwen3RerankRetriever(base_retriever=Fixed(texts=[]), reranker=text_rerank)

    assert retriever.invoke(QUERY) == []


async def test_callbacks_see_the_other_retriever_inside(retriever: Qwen3RerankRetriever) -> None:
    class Seen(BaseCallbackHandler):
        def __init__(self) -> None:
            self.runs: list[tuple[Any, Any]] = []

        def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
            self.runs.append((kwargs["run_id"], kwargs["parent_run_id"]))

    seen, aseen = Seen(), Seen()
    retriever.invoke(QUERY, config={"callbacks": [seen]})
    await retriever.ainvoke(QUERY, config={"callbacks": [aseen]})

    for runs in (seen.runs, aseen.runs):
        [(outer, top), (_, parent)] = runs
        assert top is None
        assert parent == outer


def test_bad_settings_of_retrievers_are_refused(
    found: Fixed, text_rerank: Qwen3Rerank, searcher: HybridSearcher
) -> None:
    makers: list[Any] = [
        lambda **more: Qwen3RerankRetriever(base_retriever=found, reranker=text_rerank, **more),
        lambda **more: Qwen3HybridRetriever(searcher=searcher, **more),
    ]
    for make in makers:
        with pytest.raises(InputError, match="`k` must be at least 1, got 0"):
            make(k=0)
        with pytest.raises(InputError, match="`k` must be at least 1, got 0"):
            make().invoke(QUERY, k=0)
        with pytest.raises(InputError, match="`instruction` is empty"):
            make(instruction=" ")
        with pytest.raises(ValidationError, match=r"top_k\n.*not permitted"):
            make(top_k=3)
    with pytest.raises(InputError, match=r"takes no 'limit', only k, filter"):
        Qwen3HybridRetriever(searcher=searcher).invoke(QUERY, limit=3)
    with pytest.raises(ValidationError, match="instance of Searcher"):
        Qwen3HybridRetriever(searcher=object())  # type: ignore[arg-type]  # the mistake


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_a_rerank_retriever_is_serialised_with_what_it_holds() -> None:
    settings: dict[str, Any] = {
        "base_retriever": Fixed(texts=["a", "b"]),
        "reranker": Qwen3Rerank(model="tiny", top_n=2),
        "k": 3,
        "instruction": "Find code",
        "name": "mine",
        "tags": ["one"],
        "metadata": {"two": 2},
    }
    retriever = Qwen3RerankRetriever(**settings)
    assert set(settings) == set(Qwen3RerankRetriever.model_fields)

    again = loads(
        dumps(retriever),
        allowed_objects=[Qwen3RerankRetriever, Qwen3Rerank, Fixed],
        valid_namespaces=["langchain_qwen3_rag", Fixed.get_lc_namespace()[0]],
    )

    for name, value in settings.items():
        assert getattr(again, name) == value, name
    twin = pickle.loads(pickle.dumps(retriever))
    assert twin == retriever
    assert copy.deepcopy(retriever) == retriever


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_a_store_behind_a_rerank_retriever_is_told_to_be_unserialisable() -> None:
    store = InMemoryVectorStore(Qwen3Embeddings(model="tiny"))
    retriever = Qwen3RerankRetriever(
        base_retriever=store.as_retriever(), reranker=Qwen3Rerank(model="tiny")
    )

    with pytest.raises(NotImplementedError, match="VectorStoreRetriever"):
        loads(
            dumps(retriever),
            allowed_objects=[Qwen3RerankRetriever, Qwen3Rerank],
            valid_namespaces=["langchain_qwen3_rag"],
        )


@pytest.fixture
def searcher(
    text_embeddings: Qwen3Embeddings, text_rerank: Qwen3Rerank
) -> Iterator[HybridSearcher]:
    client = QdrantClient(":memory:")
    searcher = HybridSearcher(
        QdrantStore(client, "texts"), text_embeddings.embedder, text_rerank.reranker
    )
    searcher.create(fields={"lang": "keyword"})
    searcher.add(
        [
            HybridDocument(
                "france", "Paris is the\ncapital of France 🥐", {"lang": "en", "n": [1]}
            ),
            HybridDocument(7, "E_4711 means the disk is full", {"lang": "en"}),
            HybridDocument("日本", "東京は日本の首都です。", {"lang": "ja"}),
        ]
    )
    yield searcher
    searcher.close()
    client.close()


async def test_a_retriever_is_for_a_tenant(searcher: HybridSearcher) -> None:
    shared = HybridSearcher(QdrantStore(QdrantClient(":memory:"), "shared"), searcher.embedder)
    shared.create(tenants=True)
    shared.add([HybridDocument("mine", "a text")], tenant="acme")
    shared.add([HybridDocument("theirs", "a text")], tenant="globex")
    retriever = Qwen3HybridRetriever(searcher=shared, tenant="acme")

    assert [document.id for document in retriever.invoke("text")] == ["mine"]
    assert [document.id for document in retriever.invoke("text", tenant="globex")] == ["theirs"]
    assert [document.id for document in await retriever.ainvoke("text")] == ["mine"]


def test_hits_become_documents_with_scores_and_ranks(searcher: HybridSearcher) -> None:
    hits = searcher.search(QUERY)

    documents = Qwen3HybridRetriever(searcher=searcher).invoke(QUERY)

    assert [document.id for document in documents] == [str(hit.id) for hit in hits]
    assert {document.id for document in documents} == {"france", "7", "日本"}
    for document, hit in zip(documents, hits, strict=True):
        assert document.page_content == hit.text
        assert document.metadata == {
            **hit.payload,
            "relevance_score": hit.score,
            "search_ranks": {
                name: {"rank": one.rank, "score": one.score} for name, one in hit.ranks.items()
            },
        }
        assert type(document.metadata["relevance_score"]) is float
    assert documents[0].page_content == PARIS
    assert documents[0].metadata["n"] == [1]
    assert set(documents[0].metadata["search_ranks"]) == {"dense", "bm25", "fused", "rerank"}


async def test_k_filter_and_instruction_reach_the_searcher(searcher: HybridSearcher) -> None:
    only = models.Filter(
        must=[models.FieldCondition(key="lang", match=models.MatchValue(value="ja"))]
    )
    settings: dict[str, Any] = {"k": 1, "filter": only, "instruction": "Find the capital"}
    [hit] = searcher.search(QUERY, limit=1, filter=only, instruction="Find the capital")
    plain = Qwen3HybridRetriever(searcher=searcher)
    ready = Qwen3HybridRetriever(searcher=searcher, **settings)

    for documents in (
        ready.invoke(QUERY),
        await ready.ainvoke(QUERY),
        plain.invoke(QUERY, **settings),
        await plain.ainvoke(QUERY, **settings),
    ):
        [document] = documents
        assert document.id == "日本"
        assert document.metadata["relevance_score"] == hit.score
    grouped = Qwen3HybridRetriever(searcher=searcher, group_by="lang")
    expected = [str(hit.id) for hit in searcher.search(QUERY, group_by="lang")]
    for documents in (
        grouped.invoke(QUERY),
        await plain.ainvoke(QUERY, group_by="lang"),
    ):
        assert [document.id for document in documents] == expected
    [other] = plain.invoke(QUERY, k=1, filter=only)
    assert other.metadata["relevance_score"] != hit.score


async def test_hybrid_async_and_batch_equal_sync(searcher: HybridSearcher) -> None:
    retriever = Qwen3HybridRetriever(searcher=searcher, k=2)
    queries = [QUERY, "E_4711"]
    expected = [contents(retriever.invoke(query)) for query in queries]

    assert [contents(await retriever.ainvoke(query)) for query in queries] == expected
    assert [contents(found) for found in await retriever.abatch(queries)] == expected
    assert expected[1][0]["id"] == "7"


async def test_the_event_loop_keeps_ticking(
    searcher: HybridSearcher,
    found: Fixed,
    slow_embeddings: Qwen3Embeddings,
    slow_rerank: Qwen3Rerank,
) -> None:
    slow = HybridSearcher(searcher.store, slow_embeddings.embedder, slow_rerank.reranker)
    retrievers = [
        Qwen3HybridRetriever(searcher=slow),
        Qwen3RerankRetriever(base_retriever=found, reranker=slow_rerank),
    ]

    for retriever in retrievers:
        documents = await keeps_ticking(retriever.ainvoke(QUERY))
        assert contents(documents) == contents(retriever.invoke(QUERY))


def test_a_hybrid_retriever_says_that_it_cannot_be_written_down(searcher: HybridSearcher) -> None:
    retriever = Qwen3HybridRetriever(searcher=searcher)

    with pytest.raises(StoreError, match="holds an open searcher"):
        dumps(retriever)
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(StoreError, match="holds an open store"):
            write(retriever)
