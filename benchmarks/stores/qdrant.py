"""The classes of LangChain, LlamaIndex and Haystack for Qdrant, in local mode with a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from benchmarks.stores.checks import Side, Texts

__all__ = ["NAME", "haystack", "langchain", "llama_index"]

NAME = "documents"


def encode(text: str) -> tuple[list[int], list[float]]:
    """Encode words as the server's `Qdrant/bm25` does, which leaves the IDF to the collection."""
    counts = Counter(re.findall(r"\w+", text.lower()))
    norm = 1.2 * (1 - 0.75 + 0.75 * sum(counts.values()) / 256)
    return (
        [crc32(word.encode()) for word in counts],
        [often * 2.2 / (often + norm) for often in counts.values()],
    )


def langchain(given: Texts, place: str) -> Side:
    """Fill a collection for hybrid search with langchain-qdrant's defaults."""
    from langchain_core.embeddings import Embeddings
    from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector

    class Given(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return given.of_documents(texts)

        def embed_query(self, text: str) -> list[float]:
            return given.of_query(text)

    class Words(SparseEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[SparseVector]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> SparseVector:
            indices, values = encode(text)
            return SparseVector(indices=indices, values=values)

    store = QdrantVectorStore.from_texts(
        given.texts,
        Given(),
        ids=given.ids,
        sparse_embedding=Words(),
        retrieval_mode=RetrievalMode.HYBRID,
        path=place,
        collection_name=NAME,
    )

    class LangChain:
        packages: Sequence[str] = ("langchain-qdrant",)

        def search(self, query: str, limit: int) -> list[str]:
            return [one.page_content for one in store.similarity_search(query, k=limit)]

        def page(self, query: str, offset: int, limit: int) -> list[str]:
            found = store.similarity_search(query, k=limit, offset=offset)
            return [one.page_content for one in found]

        def words(self, query: str) -> None:
            """The mode belongs to the object, so the check does not apply."""

        def nearest(self, query: str) -> None:
            """As `words`."""

        def score(self, query: str) -> None:
            """A score of fused ranks is of the ranks alone."""

    return LangChain()


def llama_index(given: Texts, place: str) -> Side:
    """Fill a collection for hybrid search with the defaults, but for the encoder of words."""
    from llama_index.core.vector_stores import VectorStoreQuery
    from llama_index.core.vector_stores.types import VectorStoreQueryMode
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    def words(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        encoded = [encode(text) for text in texts]
        return [indices for indices, _ in encoded], [values for _, values in encoded]

    store = QdrantVectorStore(
        NAME,
        client=QdrantClient(path=place),
        enable_hybrid=True,
        sparse_doc_fn=words,
        sparse_query_fn=words,
    )
    store.add(_nodes(given))

    class LlamaIndex:
        packages: Sequence[str] = ("llama-index-vector-stores-qdrant",)

        def search(self, query: str, limit: int) -> list[str]:
            return self._query(query, limit, VectorStoreQueryMode.HYBRID)

        def page(self, query: str, offset: int, limit: int) -> None:
            """There is no offset."""

        def words(self, query: str) -> list[str]:
            return self._query(query, 4, VectorStoreQueryMode.SPARSE)

        def nearest(self, query: str) -> list[str]:
            return self._query(query, 4, VectorStoreQueryMode.DEFAULT)

        def score(self, query: str) -> None:
            """Fused scores are of one query."""

        def _query(self, query: str, limit: int, mode: VectorStoreQueryMode) -> list[str]:
            asked = VectorStoreQuery(
                query_embedding=given.of_query(query),
                query_str=query,
                similarity_top_k=limit,
                sparse_top_k=limit,
                mode=mode,
            )
            return [one.get_content() for one in store.query(asked).nodes or ()]

    return LlamaIndex()


def haystack(given: Texts, place: str) -> Side:
    """Fill a collection with sparse vectors, and search it with the hybrid retriever."""
    from haystack import Document
    from haystack.dataclasses import SparseEmbedding
    from haystack_integrations.components.retrievers.qdrant import (
        QdrantEmbeddingRetriever,
        QdrantHybridRetriever,
        QdrantSparseEmbeddingRetriever,
    )
    from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

    store = QdrantDocumentStore(
        path=place,
        index=NAME,
        embedding_dim=len(given.documents[0]),
        use_sparse_embeddings=True,
        progress_bar=False,
    )

    def sparse(text: str) -> SparseEmbedding:
        indices, values = encode(text)
        return SparseEmbedding(indices=indices, values=values)

    store.write_documents(
        [
            Document(id=id_, content=text, embedding=vector, sparse_embedding=sparse(text))
            for id_, text, vector in zip(given.ids, given.texts, given.documents, strict=True)
        ]
    )

    class Haystack:
        packages: Sequence[str] = ("qdrant-haystack",)

        def search(self, query: str, limit: int) -> list[str]:
            retriever = QdrantHybridRetriever(store, top_k=limit)
            return _contents(retriever.run(given.of_query(query), sparse(query)))

        def page(self, query: str, offset: int, limit: int) -> None:
            """There is no offset."""

        def words(self, query: str) -> list[str]:
            return _contents(QdrantSparseEmbeddingRetriever(store, top_k=4).run(sparse(query)))

        def nearest(self, query: str) -> list[str]:
            retriever = QdrantEmbeddingRetriever(store, top_k=4)
            return _contents(retriever.run(given.of_query(query)))

        def score(self, query: str) -> None:
            """A score of fused ranks is of the ranks alone."""

    return Haystack()


def _nodes(given: Texts) -> list[Any]:
    from llama_index.core.schema import TextNode

    return [
        TextNode(id_=id_, text=text, embedding=vector)
        for id_, text, vector in zip(given.ids, given.texts, given.documents, strict=True)
    ]


def _contents(found: dict[str, Any]) -> list[str]:
    return [one.content for one in found["documents"]]
