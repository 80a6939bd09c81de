"""What a query measured is in the metadata of its documents, and not in their identity."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MultiQueryRetriever,
)
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from qdrant_client import QdrantClient

from langchain_qwen3_rag import (
    Qwen3Embeddings,
    Qwen3HybridRetriever,
    Qwen3Rerank,
    Qwen3RerankRetriever,
    ScoredDocument,
)
from qwen3_rag_hybrid import Document as HybridDocument
from qwen3_rag_hybrid import HybridSearcher, QdrantStore

PHRASINGS = [
    "What is the capital of France?",
    "Which city governs France?",
    "Where does the French parliament meet?",
]
TEXTS = ["Paris is the capital of France.", "The Rhine flows through Basel.", "The disk is full."]


def make(**changes: Any) -> ScoredDocument:
    metadata = {"page": 1, "relevance_score": 0.5, "search_ranks": {"dense": {"rank": 1}}}
    fields: dict[str, Any] = {"id": "a", "page_content": "text", "metadata": metadata, **changes}
    return ScoredDocument(**fields)


OTHER_QUERY = {"page": 1, "relevance_score": 0.1, "search_ranks": {"bm25": {"rank": 9}}}


def test_scores_and_ranks_do_not_take_part_in_equality() -> None:
    first, second = make(), make(metadata=OTHER_QUERY)

    assert first == second
    assert (first != second) is False
    assert second in [first]
    assert [first].index(second) == 0
    assert (first.metadata["relevance_score"], second.metadata["relevance_score"]) == (0.5, 0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"},
        {"id": None},
        {"page_content": "other"},
        {"metadata": {**OTHER_QUERY, "page": 2}},
        {"metadata": {"relevance_score": 0.5}},
        {"metadata": {**OTHER_QUERY, "more": 1}},
    ],
)
def test_everything_else_does(change: dict[str, Any]) -> None:
    plain = Document(**{**make().model_dump(), **change})

    assert make() != make(**change)
    assert make() != plain
    assert plain != make()


def test_a_plain_document_is_equal_whichever_side_it_is_on() -> None:
    for metadata in ({"page": 1}, OTHER_QUERY):
        plain = Document(id="a", page_content="text", metadata=metadata)

        assert plain == make()
        assert make() == plain
        assert plain in [make()]
        assert make() in [plain]
    for other in ("text", None, 1):
        assert make() != other
        assert other != make()


def test_documents_of_another_class_are_others() -> None:
    class Page(Document):
        number: int = 0

    page = Page(id="a", page_content="text", metadata={"page": 1})

    assert page != make()
    assert make() != page


def test_like_any_document_it_has_no_hash() -> None:
    for document in (make(), Document("text")):
        with pytest.raises(TypeError, match="unhashable"):
            hash(document)


def test_copies_and_pickles_keep_scores_and_equality() -> None:
    for twin in (
        pickle.loads(pickle.dumps(make())),
        copy.copy(make()),
        copy.deepcopy(make()),
        make().model_copy(),
        make().model_copy(update={"metadata": OTHER_QUERY}),
        ScoredDocument.model_validate(make().model_dump()),
    ):
        assert type(twin) is ScoredDocument
        assert twin == make(metadata=OTHER_QUERY)
    assert pickle.loads(pickle.dumps(make())).model_dump() == make().model_dump()


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_it_is_written_and_loaded_as_langchains_own_document() -> None:
    plain = Document(**make().model_dump())

    assert dumps(make()) == dumps(plain)
    loaded = loads(dumps(make()), allowed_objects="core")
    assert type(loaded) is Document
    assert loaded.model_dump() == make().model_dump()
    assert loaded == make()
    assert str(make()) == str(plain)


@pytest.fixture
def hybrid(
    text_embeddings: Qwen3Embeddings, text_rerank: Qwen3Rerank
) -> Iterator[Qwen3HybridRetriever]:
    client = QdrantClient(":memory:")
    searcher = HybridSearcher(
        QdrantStore(client, "texts"), text_embeddings.embedder, text_rerank.reranker
    )
    searcher.create()
    searcher.add([HybridDocument(number, text, {"n": number}) for number, text in enumerate(TEXTS)])
    yield Qwen3HybridRetriever(searcher=searcher)
    searcher.close()
    client.close()


@pytest.fixture
def compression(
    text_embeddings: Qwen3Embeddings, text_rerank: Qwen3Rerank
) -> ContextualCompressionRetriever:
    return ContextualCompressionRetriever(
        base_compressor=text_rerank,
        base_retriever=InMemoryVectorStore.from_texts(TEXTS, text_embeddings).as_retriever(),
    )


async def found_once(retriever: BaseRetriever) -> None:
    """Several phrasings find each document, with other scores, and it comes back once."""
    scores = {
        document.metadata["relevance_score"]
        for phrasing in PHRASINGS
        for document in retriever.invoke(phrasing)
    }
    assert len(scores) > len(TEXTS)
    several = MultiQueryRetriever(
        retriever=retriever,
        llm_chain=RunnableLambda(lambda _: PHRASINGS[1:]),
        include_original=True,
    )

    documents = several.invoke(PHRASINGS[0])

    assert sorted(document.page_content for document in documents) == sorted(TEXTS)
    assert all("relevance_score" in document.metadata for document in documents)
    assert await several.ainvoke(PHRASINGS[0]) == documents


async def test_multi_query_over_hybrid_search_finds_each_document_once(
    hybrid: Qwen3HybridRetriever,
) -> None:
    await found_once(hybrid)


async def test_multi_query_over_reranking_finds_each_document_once(
    compression: ContextualCompressionRetriever, text_rerank: Qwen3Rerank
) -> None:
    await found_once(compression)
    await found_once(
        Qwen3RerankRetriever(base_retriever=compression.base_retriever, reranker=text_rerank)
    )


@pytest.mark.parametrize("id_key", [None, "n"])
def test_an_ensemble_adds_up_what_its_retrievers_say_of_one_document(
    hybrid: Qwen3HybridRetriever, text_rerank: Qwen3Rerank, id_key: str | None
) -> None:
    # Second for each of the three, and nobody else's: the sum of three puts it first.
    order = [[0, 1], [2, 1], [0, 1]]

    def ranked(numbers: list[int]) -> RunnableLambda[str, list[Document]]:
        def find(query: str) -> list[Document]:
            documents = {document.metadata["n"]: document for document in hybrid.invoke(query)}
            return [documents[number] for number in numbers]

        return RunnableLambda(find)

    ensemble = EnsembleRetriever(
        retrievers=[ranked(numbers) for numbers in order], weights=[1, 1, 0.5], id_key=id_key
    )

    documents = ensemble.invoke(PHRASINGS[0])

    assert [document.metadata["n"] for document in documents] == [1, 0, 2]
