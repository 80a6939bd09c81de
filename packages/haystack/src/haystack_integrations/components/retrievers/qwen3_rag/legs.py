"""Which retrievers ask a document store for its two legs.

Knows Haystack's stores by name; those with a client of their own live in a leaf each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from haystack.components.retrievers.in_memory import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
)
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.in_memory import InMemoryDocumentStore

from qwen3_rag import InputTypeError
from qwen3_rag.lexical import BM25Encoder

__all__ = ["DENSE", "LEXICAL", "Legs", "legs_of"]

#: Names of the two legs, in weights and in the metadata of results.
DENSE, LEXICAL = "dense", "lexical"

_ENCODER = BM25Encoder()


@dataclass(frozen=True)
class Legs:
    """The two retrievers of one store.

    Attributes:
        dense: Takes `query_embedding`.
        lexical: Takes what `query` says.
        query: `"query_sparse_embedding"`, or `"query"` for a store that splits words itself.
    """

    dense: Any
    lexical: Any
    query: Literal["query", "query_sparse_embedding"]

    def requests(
        self, query: str, embedding: list[float], filters: Any, top_k: int
    ) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Say what to ask: for each leg its name, its retriever and the arguments of `run`.

        The lexical leg is left out where the query has no term.
        """
        common = {"filters": filters, "top_k": top_k}
        yield DENSE, self.dense, {"query_embedding": embedding, **common}
        terms = _ENCODER.encode_query(query)
        if self.query == "query":
            yield LEXICAL, self.lexical, {"query": query, **common}
        elif len(terms):
            sparse = SparseEmbedding(terms.indices.tolist(), terms.values.tolist())
            yield LEXICAL, self.lexical, {"query_sparse_embedding": sparse, **common}


def legs_of(document_store: Any) -> Legs:
    """Find the retrievers of a store.

    Raises:
        InputTypeError: A store that is not known here.
        InputError: A store that was not set up for both legs.
    """
    if isinstance(document_store, InMemoryDocumentStore):
        return Legs(
            InMemoryEmbeddingRetriever(document_store),
            InMemoryBM25Retriever(document_store),
            query="query",
        )
    modules = {kind.__module__ for kind in type(document_store).__mro__}
    if any(name.startswith("haystack_integrations.document_stores.qdrant.") for name in modules):
        # The store is there, so its package is: only now is it imported.
        from haystack_integrations.components.retrievers.qwen3_rag.qdrant import qdrant_legs

        dense, lexical = qdrant_legs(document_store)
        return Legs(dense, lexical, query="query_sparse_embedding")
    raise InputTypeError(
        "`document_store` must be a QdrantDocumentStore, an InMemoryDocumentStore or a Searcher, "
        f"got {type(document_store).__name__}. For another store, join its two retrievers with "
        "DocumentJoiner and rank with Qwen3Ranker."
    )
