"""The dense and the BM25 retriever of a Haystack document store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from haystack import Document
from haystack.components.retrievers.in_memory import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
)
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.in_memory import InMemoryDocumentStore

from qwen3_rag import InputTypeError
from qwen3_rag.integration import Call
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import BM25, DENSE

__all__ = ["RetrieverPair", "retriever_pair"]

T = TypeVar("T")

_ENCODER = BM25Encoder()


@dataclass(frozen=True)
class RetrieverPair:
    """The two retrievers of one store.

    Attributes:
        dense: Takes `query_embedding`.
        bm25: Takes the query as the argument that `query` names.
        query: `"query_sparse_embedding"`, or `"query"` for a store that has its own tokenizer.
    """

    dense: Any
    bm25: Any
    query: Literal["query", "query_sparse_embedding"]

    def ask(
        self,
        query: str,
        embedding: list[float],
        filters: Any,
        top_k: int,
        then: Callable[[dict[str, list[Document]]], T],
    ) -> Call:
        """Run both retrievers; BM25 is skipped if the query has no terms.

        Args:
            query: The user's question.
            embedding: Its vector.
            filters: Filters for both retrievers.
            top_k: Number of documents to take from each.
            then: Makes the result from the documents by retriever name.
        """
        requests = list(self._requests(query, embedding, {"filters": filters, "top_k": top_k}))

        def blocking() -> T:
            return then({name: asked.run(**given)["documents"] for name, asked, given in requests})

        async def awaited() -> T:
            found = {}
            # Not concurrently, because the first request may make the client connect.
            for name, asked, given in requests:
                found[name] = (await asked.run_async(**given))["documents"]
            return then(found)

        return Call(blocking, awaited)

    def _requests(
        self, query: str, embedding: list[float], common: dict[str, Any]
    ) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        yield DENSE, self.dense, {"query_embedding": embedding, **common}
        if self.query == "query":
            yield BM25, self.bm25, {"query": query, **common}
            return
        terms = _ENCODER.encode_query(query)
        if len(terms):
            sparse = SparseEmbedding(terms.indices.tolist(), terms.values.tolist())
            yield BM25, self.bm25, {"query_sparse_embedding": sparse, **common}


def retriever_pair(document_store: Any) -> RetrieverPair:
    """Make the two retrievers of a store.

    Raises:
        InputTypeError: The store's type is not supported.
        InputError: The store is not set up for both retrievers.
    """
    if isinstance(document_store, InMemoryDocumentStore):
        return RetrieverPair(
            InMemoryEmbeddingRetriever(document_store),
            InMemoryBM25Retriever(document_store),
            query="query",
        )
    modules = {kind.__module__ for kind in type(document_store).__mro__}
    if any(name.startswith("haystack_integrations.document_stores.qdrant.") for name in modules):
        # Imported only here, where the optional package must be installed.
        from haystack_integrations.components.retrievers.qwen3_rag.qdrant import qdrant_retrievers

        return RetrieverPair(*qdrant_retrievers(document_store), query="query_sparse_embedding")
    raise InputTypeError(
        "`document_store` must be a QdrantDocumentStore, an InMemoryDocumentStore or a Searcher, "
        f"got {type(document_store).__name__}. For another store, join its two retrievers with "
        "DocumentJoiner and rank with Qwen3Ranker."
    )
