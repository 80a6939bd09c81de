"""LangChain's own conformance suites, as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests
from qdrant_client import QdrantClient, models

from langchain_qwen3_rag import (
    Qwen3Embeddings,
    Qwen3HybridRetriever,
    Qwen3Rerank,
    Qwen3RerankRetriever,
)
from qwen3_rag.integration import KEY_VARIABLE
from qwen3_rag_hybrid import Document as HybridDocument
from qwen3_rag_hybrid import HybridSearcher, QdrantStore

QUERY = "What is the capital of France?"
TEXTS = [
    "Paris is the capital of France.",
    "Berlin is the capital of Germany.",
    "Water boils at 100 degrees.",
    "The disk is full.",
    "A poem about rain.",
]


@cache
def embeddings() -> Qwen3Embeddings:
    """One for all suites, so that the weights stay."""
    return Qwen3Embeddings(model="tiny", dim=64)


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return Qwen3Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "tiny"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        served = {"model": "tiny", "base_url": "http://127.0.0.1:9"}  # asked by the first use
        return {KEY_VARIABLE: "k-4711"}, served, {"api_key": "k-4711"}


class TestEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return Qwen3Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        embeddings().embed_query("so that the weights stay")
        return {"model": "tiny"}


class TestRerankRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return Qwen3RerankRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        store = InMemoryVectorStore.from_texts(TEXTS, embeddings())
        return {
            "base_retriever": store.as_retriever(search_kwargs={"k": 5}),
            "reranker": Qwen3Rerank(model="tiny"),
        }

    @property
    def retriever_query_example(self) -> str:
        return QUERY


class TestHybridRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _searcher(self) -> Iterator[None]:
        client = QdrantClient(":memory:")
        self.searcher = HybridSearcher(QdrantStore(client, "texts"), embeddings().embedder)
        self.searcher.create()
        self.searcher.add([HybridDocument(index, text) for index, text in enumerate(TEXTS)])
        yield
        self.searcher.close()
        client.close()

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return Qwen3HybridRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"searcher": self.searcher}

    @property
    def retriever_query_example(self) -> str:
        return QUERY


class TestInMemoryVectorStore(VectorStoreIntegrationTests):
    @staticmethod
    def get_embeddings() -> Embeddings:
        return embeddings()

    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return InMemoryVectorStore(self.get_embeddings())


class QdrantForTheSuite(QdrantVectorStore):
    """Qdrant as the suite wants a store: any string is an id, and documents carry it.

    `QdrantVectorStore` itself fails the suite with any embeddings, LangChain's own among them:
    Qdrant takes numbers and UUIDs as ids, and its documents have the id in their metadata.
    """

    def add_texts(  # type: ignore[override]  # as the overridden one
        self,
        texts: Any,
        metadatas: list[dict[str, Any]] | None = None,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str | int]:
        texts = list(texts)
        names = [one or str(uuid.uuid4()) for one in ids or [None] * len(texts)]
        kept = [
            {"given": metadata, "id": name}
            for metadata, name in zip(metadatas or [{}] * len(texts), names, strict=True)
        ]
        super().add_texts(texts, kept, [as_uuid(name) for name in names], **kwargs)
        return list(names)

    def delete(self, ids: Any = None, **kwargs: Any) -> bool | None:
        return super().delete([as_uuid(one) for one in ids or []], **kwargs)

    def get_by_ids(self, ids: Sequence[str | int], /) -> list[Document]:
        return [as_given(one) for one in super().get_by_ids([as_uuid(one) for one in ids])]

    def similarity_search(self, *args: Any, **kwargs: Any) -> list[Document]:
        return [as_given(one) for one in super().similarity_search(*args, **kwargs)]


def as_given(document: Document) -> Document:
    kept = document.metadata
    return Document(document.page_content, metadata=kept["given"], id=kept["id"])


def as_uuid(name: str | int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(name)))


class TestQdrantVectorStore(VectorStoreIntegrationTests):
    @staticmethod
    def get_embeddings() -> Embeddings:
        return embeddings()

    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        client = QdrantClient(":memory:")
        client.create_collection(
            "texts",
            vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE),
        )
        yield QdrantForTheSuite(client, "texts", self.get_embeddings())
        client.close()
