"""The classes of LangChain, LlamaIndex and Haystack for Milvus, with Milvus Lite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.stores.checks import FEW, Side, Texts

__all__ = ["NAME", "haystack", "langchain", "llama_index"]

NAME = "documents"

# Milvus Lite needs this for BM25, where servers choose it on their own.
_BM25_INDEX: dict[str, Any] = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"}


def langchain(given: Texts, place: str) -> Side:
    """Fill a collection for hybrid search with langchain-milvus's defaults."""
    from langchain_core.embeddings import Embeddings
    from langchain_milvus import BM25BuiltInFunction, Milvus

    class Given(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return given.of_documents(texts)

        def embed_query(self, text: str) -> list[float]:
            return given.of_query(text)

    same: dict[str, Any] = {
        "collection_name": NAME,
        "connection_args": {"uri": place},
        "consistency_level": "Strong",
    }
    store = Milvus(
        Given(),
        builtin_function=BM25BuiltInFunction(),
        vector_field=["vector", "sparse"],
        index_params=[
            {"index_type": "AUTOINDEX", "metric_type": "L2", "params": {}},  # the default
            _BM25_INDEX,
        ],
        # Milvus Lite does not take the default, which leaves small weights of BM25 out.
        search_params=[{"metric_type": "L2"}, {"metric_type": "BM25"}],
        **same,
    )
    store.add_texts(given.texts, ids=given.ids)
    dense = Milvus(Given(), **same)

    # Milvus Lite refuses the default, which has a weight too many.
    rrf: dict[str, Any] = {"ranker_type": "rrf", "ranker_params": {"k": 60}}

    class LangChain:
        packages: Sequence[str] = ("langchain-milvus",)

        def search(self, query: str, limit: int) -> list[str]:
            found = store.similarity_search(query, k=limit, **rrf)
            return [one.page_content for one in found]

        def page(self, query: str, offset: int, limit: int) -> list[str]:
            found = store.similarity_search(query, k=limit, offset=offset, **rrf)
            return [one.page_content for one in found]

        def words(self, query: str) -> None:
            """The fields belong to the object, so the check does not apply."""

        def nearest(self, query: str) -> list[str]:
            return [one.page_content for one in dense.similarity_search(query, k=FEW)]

        def score(self, query: str) -> float:
            return float(dense.similarity_search_with_score(query, k=1)[0][1])

    return LangChain()


def llama_index(given: Texts, place: str) -> Side:
    """Fill a collection for hybrid search with the defaults of LlamaIndex's class."""
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores import VectorStoreQuery
    from llama_index.core.vector_stores.types import VectorStoreQueryMode
    from llama_index.vector_stores.milvus import MilvusVectorStore

    store = MilvusVectorStore(
        place,
        collection_name=NAME,
        dim=len(given.documents[0]),
        enable_sparse=True,
        consistency_level="Strong",
        use_async_client=False,
    )
    store.add(
        [
            TextNode(id_=id_, text=text, embedding=vector)
            for id_, text, vector in zip(given.ids, given.texts, given.documents, strict=True)
        ]
    )

    class LlamaIndex:
        packages: Sequence[str] = ("llama-index-vector-stores-milvus",)

        def search(self, query: str, limit: int) -> list[str]:
            return self._texts(query, limit, VectorStoreQueryMode.HYBRID)

        def page(self, query: str, offset: int, limit: int) -> None:
            """There is no offset."""

        def words(self, query: str) -> None:
            """Milvus Lite does not take this search, which leaves small weights out."""

        def nearest(self, query: str) -> list[str]:
            return self._texts(query, FEW, VectorStoreQueryMode.DEFAULT)

        def score(self, query: str) -> float:
            return float(self._query(query, 1, VectorStoreQueryMode.DEFAULT).similarities[0])

        def _texts(self, query: str, limit: int, mode: Any) -> list[str]:
            return [one.get_content() for one in self._query(query, limit, mode).nodes]

        def _query(self, query: str, limit: int, mode: Any) -> Any:
            return store.query(
                VectorStoreQuery(
                    query_embedding=given.of_query(query),
                    query_str=query,
                    similarity_top_k=limit,
                    mode=mode,
                )
            )

    return LlamaIndex()


def haystack(given: Texts, place: str) -> Side:
    """Fill a collection for hybrid search with milvus-haystack's defaults."""
    from haystack import Document
    from milvus_haystack import MilvusDocumentStore
    from milvus_haystack.function import BM25BuiltInFunction
    from milvus_haystack.milvus_embedding_retriever import (
        MilvusEmbeddingRetriever,
        MilvusHybridRetriever,
        MilvusSparseEmbeddingRetriever,
    )

    store = MilvusDocumentStore(
        collection_name=NAME,
        connection_args={"uri": place},
        consistency_level="Strong",
        sparse_vector_field="sparse_vector",
        builtin_function=[
            BM25BuiltInFunction(input_field_names="text", output_field_names="sparse_vector")
        ],
    )
    store.write_documents(
        [
            Document(id=id_, content=text, embedding=vector)
            for id_, text, vector in zip(given.ids, given.texts, given.documents, strict=True)
        ]
    )

    class Haystack:
        packages: Sequence[str] = ("milvus-haystack",)

        def search(self, query: str, limit: int) -> list[str]:
            retriever = MilvusHybridRetriever(document_store=store, top_k=limit)
            return _contents(retriever.run(given.of_query(query), query_text=query))

        def page(self, query: str, offset: int, limit: int) -> None:
            """There is no offset."""

        def words(self, query: str) -> list[str]:
            retriever = MilvusSparseEmbeddingRetriever(document_store=store, top_k=FEW)
            return _contents(retriever.run(query_text=query))

        def nearest(self, query: str) -> list[str]:
            retriever = MilvusEmbeddingRetriever(document_store=store, top_k=FEW)
            return _contents(retriever.run(given.of_query(query)))

        def score(self, query: str) -> float:
            retriever = MilvusEmbeddingRetriever(document_store=store, top_k=1)
            return float(retriever.run(given.of_query(query))["documents"][0].score or 0)

    return Haystack()


def _contents(found: dict[str, Any]) -> list[str]:
    return [one.content for one in found["documents"]]
