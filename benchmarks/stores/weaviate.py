"""The classes of LangChain, LlamaIndex and Haystack for Weaviate, on a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.stores.checks import FEW, Side, Texts

__all__ = ["haystack", "langchain", "llama_index", "parts"]


def parts(place: str) -> tuple[str, int, int, str]:
    """Divide a place into host, port, gRPC port and collection."""
    host, port, grpc_port, name = place.split(":")
    return host, int(port), int(grpc_port), name


def langchain(given: Texts, place: str) -> Side:
    """Fill a collection with langchain-weaviate's defaults."""
    import weaviate
    from langchain_core.embeddings import Embeddings
    from langchain_weaviate import WeaviateVectorStore

    class Given(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return given.of_documents(texts)

        def embed_query(self, text: str) -> list[float]:
            return given.of_query(text)

    host, port, grpc_port, name = parts(place)
    client = weaviate.connect_to_local(host=host, port=port, grpc_port=grpc_port)
    store = WeaviateVectorStore(client, name, "text", Given())
    store.add_texts(given.texts, ids=given.ids)

    class LangChain:
        packages: Sequence[str] = ("langchain-weaviate",)

        def search(self, query: str, limit: int) -> list[str]:
            return [one.page_content for one in store.similarity_search(query, k=limit)]

        def page(self, query: str, offset: int, limit: int) -> list[str]:
            found = store.similarity_search(query, k=limit, offset=offset)
            return [one.page_content for one in found]

        def words(self, query: str) -> list[str]:
            return [one.page_content for one in store.similarity_search(query, alpha=0)]

        def nearest(self, query: str) -> list[str]:
            return self.search(query, FEW)

        def score(self, query: str) -> float:
            return float(store.similarity_search_with_score(query, k=1)[0][1])

    return LangChain()


def llama_index(given: Texts, place: str) -> Side:
    """Fill a collection with the defaults of LlamaIndex's class."""
    import weaviate
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores import VectorStoreQuery
    from llama_index.core.vector_stores.types import VectorStoreQueryMode
    from llama_index.vector_stores.weaviate import WeaviateVectorStore

    host, port, grpc_port, name = parts(place)
    client = weaviate.connect_to_local(host=host, port=port, grpc_port=grpc_port)
    store = WeaviateVectorStore(client, index_name=name)
    store.add(
        [
            TextNode(id_=id_, text=text, embedding=vector)
            for id_, text, vector in zip(given.ids, given.texts, given.documents, strict=True)
        ]
    )

    class LlamaIndex:
        packages: Sequence[str] = ("llama-index-vector-stores-weaviate",)

        def search(self, query: str, limit: int) -> list[str]:
            return self._texts(query, limit, VectorStoreQueryMode.HYBRID)

        def page(self, query: str, offset: int, limit: int) -> None:
            """There is no offset."""

        def words(self, query: str) -> list[str]:
            return self._texts(query, FEW, VectorStoreQueryMode.HYBRID, alpha=0)

        def nearest(self, query: str) -> list[str]:
            return self._texts(query, FEW, VectorStoreQueryMode.DEFAULT)

        def score(self, query: str) -> float:
            return float(self._query(query, 1, VectorStoreQueryMode.DEFAULT).similarities[0])

        def _texts(self, query: str, limit: int, mode: Any, **options: Any) -> list[str]:
            return [one.get_content() for one in self._query(query, limit, mode, **options).nodes]

        def _query(self, query: str, limit: int, mode: Any, **options: Any) -> Any:
            vector = given.of_query(query)
            return store.query(
                VectorStoreQuery(
                    query_embedding=vector,
                    query_str=query,
                    similarity_top_k=limit,
                    mode=mode,
                    **options,
                )
            )

    return LlamaIndex()


def haystack(given: Texts, place: str) -> Side:
    """Fill a collection with the defaults of weaviate-haystack."""
    from haystack import Document
    from haystack.document_stores.types import DuplicatePolicy
    from haystack_integrations.components.retrievers.weaviate import (
        WeaviateBM25Retriever,
        WeaviateEmbeddingRetriever,
        WeaviateHybridRetriever,
    )
    from haystack_integrations.document_stores.weaviate import WeaviateDocumentStore

    host, port, grpc_port, name = parts(place)
    store = WeaviateDocumentStore(
        url=f"http://{host}:{port}", grpc_port=grpc_port, collection_settings={"class": name}
    )
    store.write_documents(
        [
            Document(id=id_, content=text, embedding=vector)
            for id_, text, vector in zip(given.ids, given.texts, given.documents, strict=True)
        ],
        DuplicatePolicy.OVERWRITE,
    )

    class Haystack:
        packages: Sequence[str] = ("weaviate-haystack",)

        def search(self, query: str, limit: int) -> list[str]:
            retriever = WeaviateHybridRetriever(document_store=store, top_k=limit)
            return _contents(retriever.run(query, given.of_query(query)))

        def page(self, query: str, offset: int, limit: int) -> None:
            """There is no offset."""

        def words(self, query: str) -> list[str]:
            return _contents(WeaviateBM25Retriever(document_store=store, top_k=FEW).run(query))

        def nearest(self, query: str) -> list[str]:
            retriever = WeaviateEmbeddingRetriever(document_store=store, top_k=FEW)
            return _contents(retriever.run(given.of_query(query)))

        def score(self, query: str) -> float:
            retriever = WeaviateEmbeddingRetriever(document_store=store, top_k=1)
            return float(retriever.run(given.of_query(query))["documents"][0].score or 0)

    return Haystack()


def _contents(found: dict[str, Any]) -> list[str]:
    return [one.content for one in found["documents"]]
