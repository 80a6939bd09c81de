"""`Qwen3HybridRetriever`: one query asked by meaning and by words, fused, and reranked if wanted.

Knows Haystack's component contract. The store's own retrievers ask it, the core fuses, and the
components of this package embed and rank.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

from haystack import Document, component, default_from_dict
from haystack.core.errors import SerializationError
from haystack.document_stores.types import DocumentStore, FilterPolicy, apply_filter_policy

from haystack_integrations.common.qwen3_rag.doors import serialised
from haystack_integrations.components.embedders.qwen3_rag import Qwen3TextEmbedder
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag.legs import legs_of
from haystack_integrations.components.retrievers.qwen3_rag.results import from_hits
from haystack_integrations.components.retrievers.qwen3_rag.search import StoreSearch
from qwen3_rag import InputError, Searcher
from qwen3_rag.fusion import FusionMethod
from qwen3_rag.integration import check_count, check_instruction, check_query

__all__ = ["Qwen3HybridRetriever"]

# What a searcher of its own brings along.
_SEARCHERS = (
    *("text_embedder", "ranker", "candidates", "rerank_depth"),
    *("fusion", "weights", "k"),
)


@component
class Qwen3HybridRetriever:
    """Retrieves documents by meaning and by words.

    Example:
        ```python
        store = QdrantDocumentStore(
            ":memory:", embedding_dim=1024, use_sparse_embeddings=True, sparse_idf=True
        )
        retriever = Qwen3HybridRetriever(store, Qwen3TextEmbedder(), ranker=Qwen3Ranker())
        documents = retriever.run("What is the capital of France?")["documents"]
        documents[0].meta["search_ranks"]["lexical"]["rank"]
        ```
    """

    def __init__(
        self,
        document_store: DocumentStore | Searcher,
        text_embedder: Qwen3TextEmbedder | None = None,
        *,
        ranker: Qwen3Ranker | None = None,
        filters: Any = None,
        top_k: int = 10,
        instruction: str | None = None,
        candidates: int = 100,
        rerank_depth: int = 50,
        fusion: FusionMethod = "rrf",
        weights: Mapping[str, float] | None = None,
        k: float = 60,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        """Keep the settings; store and models are first asked when they are used.

        Args:
            document_store: A `QdrantDocumentStore` with `use_sparse_embeddings` and `sparse_idf`;
                or an `InMemoryDocumentStore`, whose own BM25 is then the lexical leg. Or a
                `Searcher`, such as qwen3-rag-hybrid's `HybridSearcher`: it embeds, fuses and
                reranks itself, so it takes no other settings than `filters`, `filter_policy`,
                `top_k` and `instruction`, and the pipeline cannot be saved.
            text_embedder: Embeds the query, with the model that embedded the documents.
            ranker: Judges the best fused documents; without one their order is the last word.
            filters: Haystack's filters, or the store's own, for both legs.
            top_k: How many documents to return; not more than `candidates`.
            instruction: What queries are for, told to both models; their own when omitted.
            candidates: How many documents each leg is asked for.
            rerank_depth: How many of the fused documents the ranker reads. Those behind follow in
                the order of fusion, or not at all where the ranker has a `score_threshold`.
            fusion: `"rrf"` or `"relative_score"`.
            weights: Of the legs `"dense"` and `"lexical"`; 1 where not named.
            k: How flat RRF's reward is over the ranks.
            filter_policy: Whether filters given to `run` replace these or are merged with them.

        Raises:
            InputError: A number out of its range, an unknown fusion, or a weight of no leg; a
                store that was not set up for both legs; settings that a searcher has itself.
            InputTypeError: Something that is no such store, searcher, embedder or ranker.
        """
        self.document_store = document_store
        self.text_embedder = text_embedder
        self.ranker = ranker
        self.filters = filters
        self.top_k = top_k
        self.instruction = instruction
        self.candidates = candidates
        self.rerank_depth = rerank_depth
        self.fusion: FusionMethod = fusion
        self.weights = None if weights is None else dict(weights)
        self.k = k
        self.filter_policy = (
            FilterPolicy.from_str(filter_policy)
            if isinstance(filter_policy, str)
            else filter_policy
        )
        check_count(top_k, "top_k", 1)
        if instruction is not None:
            check_instruction(instruction)
        self._search: Searcher | StoreSearch
        if isinstance(document_store, Searcher):
            self._check_left_to_searcher()
            self._search = document_store
        else:
            self._search = StoreSearch(
                legs=legs_of(document_store),
                text_embedder=text_embedder,  # type: ignore[arg-type]  # None is refused there
                ranker=ranker,
                candidates=candidates,
                rerank_depth=rerank_depth,
                fusion=fusion,
                weights=self.weights,
                k=k,
            )
            self._search.check_top_k(top_k)

    def warm_up(self) -> None:
        """Load the models, unless they are loaded."""
        for inner in self._models():
            inner.warm_up()

    async def warm_up_async(self) -> None:
        """Load the models without blocking the event loop."""
        for inner in self._models():
            await inner.warm_up_async()

    def close(self) -> None:
        """Let go of the models and of the store's client; a searcher stays yours."""
        for inner in self._models():
            inner.close()
        if isinstance(self._search, StoreSearch) and hasattr(self.document_store, "close"):
            self.document_store.close()

    async def close_async(self) -> None:
        """Let go of the models and of the store's async client; see `close`."""
        for inner in self._models():
            await inner.close_async()
        if isinstance(self._search, StoreSearch) and hasattr(self.document_store, "close_async"):
            await self.document_store.close_async()

    def to_dict(self) -> dict[str, Any]:
        """Write the settings down, those of the store, the embedder and the ranker too.

        Raises:
            SerializationError: It holds a searcher, or a model that was handed over.
        """
        if not isinstance(self._search, StoreSearch):
            raise SerializationError(
                f"This Qwen3HybridRetriever holds a {type(self._search).__name__}, an open store "
                "which no file can hold. Use it with a QdrantDocumentStore to save the pipeline."
            )
        return serialised(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make one from what `to_dict` wrote."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: Any = None,
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> dict[str, Any]:
        """Retrieve documents.

        Args:
            query: The user's question, without any prompt text around it.
            filters: Haystack's filters, or the store's own.
            top_k: How many documents to return; the component's own when omitted.
            instruction: What this query is for; the component's own when omitted.

        Returns:
            `documents`: best first. `meta["search_ranks"]` of each has its rank and score under
            `"dense"` and `"lexical"` where that leg found it, under `"fused"`, and under `"rerank"`
            where it was reranked. `score` is that of the last of these.

        Raises:
            InputError: A blank query or instruction, or `top_k` out of its range.
            ModelError: The checkpoint is missing or broken.
            BackendError: A model could not be run.
        """
        count, filters, instruction = self._request(query, filters, top_k, instruction)
        if isinstance(self._search, StoreSearch):
            return {"documents": self._search.run(query, count, filters, instruction)}
        hits = self._search.search(query, limit=count, filter=filters, instruction=instruction)
        return {"documents": from_hits(hits)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: Any = None,
        top_k: int | None = None,
        instruction: str | None = None,
    ) -> dict[str, Any]:
        """Retrieve documents without blocking the event loop; see `run`."""
        count, filters, instruction = self._request(query, filters, top_k, instruction)
        search = self._search
        if isinstance(search, StoreSearch):
            return {"documents": await search.run_async(query, count, filters, instruction)}
        hits = await search.asearch(query, limit=count, filter=filters, instruction=instruction)
        return {"documents": from_hits(hits)}

    def _request(
        self, query: str, filters: Any, top_k: int | None, instruction: str | None
    ) -> tuple[int, Any, str | None]:
        """Check a request before anything is asked, and fill it up from the settings."""
        check_query(query)
        check_count(top_k, "top_k", 1)
        count = self.top_k if top_k is None else top_k
        if isinstance(self._search, StoreSearch):
            self._search.check_top_k(count)
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        return count, merged, self.instruction if instruction is None else instruction

    def _models(self) -> list[Any]:
        return [inner for inner in (self.text_embedder, self.ranker) if inner is not None]

    def _check_left_to_searcher(self) -> None:
        defaults = inspect.signature(type(self).__init__).parameters
        given = [name for name in _SEARCHERS if getattr(self, name) != defaults[name].default]
        if given:
            raise InputError(
                f"`{given[0]}` was given beside a searcher, which does that part itself. Give it "
                f"to the {type(self.document_store).__name__}, or give a document store."
            )
