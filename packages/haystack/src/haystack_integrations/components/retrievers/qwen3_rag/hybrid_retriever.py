"""`Qwen3HybridRetriever`: dense and BM25 retrieval with fusion and optional reranking."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack.document_stores.types import DocumentStore, FilterPolicy, apply_filter_policy

from haystack_integrations.common.qwen3_rag.components import check_kind
from haystack_integrations.components.embedders.qwen3_rag import Qwen3TextEmbedder
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag.results import (
    from_searcher,
    from_store,
    fused_hits,
)
from haystack_integrations.components.retrievers.qwen3_rag.retriever_pairs import (
    RetrieverPair,
    retriever_pair,
)
from qwen3_rag import Hit, InputError, Searcher
from qwen3_rag.fusion import DEFAULT_CANDIDATES, DEFAULT_FUSION, FusionMethod, fuse
from qwen3_rag.integration import (
    Call,
    FloatArray,
    Flow,
    check_count,
    check_instruction,
    check_query,
)
from qwen3_rag.integration import run as run_flow
from qwen3_rag.integration import run_async as run_flow_async
from qwen3_rag.search import BM25, DENSE, Fuse, SearchPipeline, further_arguments

__all__ = ["Qwen3HybridRetriever"]

#: Former names of retrievers, in the weights of saved pipelines.
_FORMER_NAMES = {"lexical": BM25}

#: Arguments that apply with a searcher only, and only with one that takes them.
_FURTHER = ("ids", "tenant", "min_score", "group_by", "per_group")

#: Arguments that do not apply with a searcher.
_SEARCHERS = ("text_embedder", "ranker", "candidates", "rerank_depth", "fusion", "weights", "k")


@component
class Qwen3HybridRetriever:
    """Retrieves documents by vectors and by BM25, fuses the results and reranks the best.

    Example:
        ```python
        store = QdrantDocumentStore(
            ":memory:", embedding_dim=1024, use_sparse_embeddings=True, sparse_idf=True
        )
        retriever = Qwen3HybridRetriever(store, Qwen3TextEmbedder(), ranker=Qwen3Ranker())
        documents = retriever.run("What is the capital of France?")["documents"]
        documents[0].meta["search_ranks"]["bm25"]["rank"]
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
        candidates: int = DEFAULT_CANDIDATES,
        rerank_depth: int = 50,
        fusion: FusionMethod = DEFAULT_FUSION,
        weights: Mapping[str, float] | None = None,
        k: float = 60,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        ids: Sequence[str | int] | None = None,
        tenant: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        per_group: int | None = None,
    ) -> None:
        """Store the arguments; models and document store are not used before the first call.

        Args:
            document_store: A `QdrantDocumentStore` with `use_sparse_embeddings` and `sparse_idf`;
                or an `InMemoryDocumentStore`, which has its own BM25; or a `Searcher`, such as
                qwen3-rag-hybrid's `HybridSearcher`. A searcher embeds, fuses and reranks itself, so
                the only other arguments are then `filters`, `filter_policy`, `top_k`,
                `instruction` and those after `filter_policy`, and the pipeline cannot be saved.
            text_embedder: Embeds the query, with the model that embedded the documents.
            ranker: Reranks the best fused documents; without one the fused order is final. Its
                `top_k` and `progress_bar` do not apply here.
            filters: Haystack's filters, or the store's own, for both retrievers.
            top_k: Number of documents to return, at most `candidates`.
            instruction: What queries are for, passed to both models; defaults to each model's own.
            candidates: Number of documents to take from each retriever.
            rerank_depth: Number of fused documents to rerank. The remaining ones follow in the
                fused order, or are left out if the ranker has a `score_threshold`.
            fusion: `"relative_score"` or `"rrf"`.
            weights: Weights of the retrievers `"dense"` and `"bm25"`; 1 if not given.
            k: RRF's rank constant, for `"rrf"` only; larger values reduce the advantage of the top
                ranks.
            filter_policy: Whether filters given to `run` replace these or are merged with them.
            ids: Ids of the documents to search in; all when omitted. This and the following are for
                searchers.
            tenant: The tenant whose documents are searched, in a collection with tenants.
            min_score: Minimum score of a document, as the searcher's reranker gives it.
            group_by: Metadata field by which documents are grouped; `top_k` is then the number of
                groups.
            per_group: Number of documents to return of each group; 1 when omitted.

        Raises:
            InputError: A number is out of range, the fusion is unknown, or a weight names no
                retriever; the store is not set up for both retrievers; or an argument does not
                apply with a searcher.
            InputTypeError: An argument is not such a store, searcher, embedder or ranker.
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
        self.weights = dict(weights) if isinstance(weights, Mapping) else weights
        self.k = k
        self.filter_policy = (
            FilterPolicy.from_str(filter_policy)
            if isinstance(filter_policy, str)
            else filter_policy
        )
        self.ids = ids
        self.tenant = tenant
        self.min_score = min_score
        self.group_by = group_by
        self.per_group = per_group
        check_count(top_k, "top_k", 1, required=True)
        if instruction is not None:
            check_instruction(instruction)
        self._pair: RetrieverPair | None = None  # not used with a searcher
        if isinstance(document_store, Searcher):
            self._check_left_to_searcher()
        else:
            self._pair = retriever_pair(document_store)
            self._check_search()
        self._further({})

    def warm_up(self) -> None:
        """Load the models, unless they are loaded."""
        for inner in self._models():
            inner.warm_up()

    async def warm_up_async(self) -> None:
        """Load the models without blocking the event loop."""
        for inner in self._models():
            await inner.warm_up_async()

    def close(self) -> None:
        """Release the models and the store's client; a searcher stays open."""
        for inner in self._models():
            inner.close()
        if self._pair is not None and hasattr(self.document_store, "close"):
            self.document_store.close()

    async def close_async(self) -> None:
        """Release the models and the store's async client; see `close`."""
        for inner in self._models():
            await inner.close_async()
        if self._pair is not None and hasattr(self.document_store, "close_async"):
            await self.document_store.close_async()

    def to_dict(self) -> dict[str, Any]:
        """Write the arguments down, those of the store, the embedder and the ranker too.

        Raises:
            SerializationError: It holds a searcher, or a model that the caller loaded.
        """
        if self._pair is None:
            raise SerializationError(
                f"This Qwen3HybridRetriever holds a {type(self.document_store).__name__}, an open "
                "store which no file can hold. Use it with a QdrantDocumentStore to save the "
                "pipeline."
            )
        return default_to_dict(
            self,
            document_store=self.document_store,
            text_embedder=self.text_embedder,
            ranker=self.ranker,
            filters=self.filters,
            top_k=self.top_k,
            instruction=self.instruction,
            candidates=self.candidates,
            rerank_depth=self.rerank_depth,
            fusion=self.fusion,
            weights=self.weights,
            k=self.k,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Create an instance from the output of `to_dict`."""
        arguments = dict(data.get("init_parameters", {}))
        if arguments.get("weights"):
            arguments["weights"] = {
                _FORMER_NAMES.get(name, name): weight
                for name, weight in arguments["weights"].items()
            }
        return default_from_dict(cls, {**data, "init_parameters": arguments})

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: Any = None,
        top_k: int | None = None,
        instruction: str | None = None,
        ids: list[str | int] | None = None,
        tenant: str | None = None,
        min_score: float | None = None,
    ) -> dict[str, Any]:
        """Retrieve documents.

        Args:
            query: The user's question, without any prompt text.
            filters: Haystack's filters, or the store's own.
            top_k: Number of documents to return; defaults to the component's.
            instruction: What this query is for; defaults to the component's.
            ids: Ids of the documents to search in; defaults to the component's.
            tenant: The tenant whose documents are searched; defaults to the component's.
            min_score: Minimum score of a document; defaults to the component's.

        Returns:
            `documents`: best first. `meta["search_ranks"]` of each has its rank and score under
            `"dense"` and `"bm25"` if that retriever found it, under `"fused"`, and under `"rerank"`
            if it was reranked. `score` is that of the last step.

        Raises:
            InputError: The query or instruction is blank, or `top_k` is out of range.
            ModelError: The checkpoint is missing or broken.
            BackendError: A model could not be run.
        """
        count, filters, instruction = self._request(query, filters, top_k, instruction)
        further = self._further({"ids": ids, "tenant": tenant, "min_score": min_score})
        if isinstance(self.document_store, Searcher):
            hits = self.document_store.search(
                query, limit=count, filter=filters, instruction=instruction, **further
            )
            return {"documents": from_searcher(hits)}
        hits = run_flow(self._search(query, count, filters, instruction))
        return {"documents": from_store(hits)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: Any = None,
        top_k: int | None = None,
        instruction: str | None = None,
        ids: list[str | int] | None = None,
        tenant: str | None = None,
        min_score: float | None = None,
    ) -> dict[str, Any]:
        """Retrieve documents without blocking the event loop; see `run`."""
        count, filters, instruction = self._request(query, filters, top_k, instruction)
        further = self._further({"ids": ids, "tenant": tenant, "min_score": min_score})
        if isinstance(self.document_store, Searcher):
            hits = await self.document_store.asearch(
                query, limit=count, filter=filters, instruction=instruction, **further
            )
            return {"documents": from_searcher(hits)}
        hits = await run_flow_async(self._search(query, count, filters, instruction))
        return {"documents": from_store(hits)}

    def _search(
        self, query: str, top_k: int, filters: Any, instruction: str | None
    ) -> Flow[list[Hit]]:
        assert self.text_embedder is not None
        assert self._pair is not None
        pair, ranker = self._pair, self.ranker
        pipeline = SearchPipeline(
            embedder=self.text_embedder.get_model(),
            reranker=None if ranker is None else ranker.get_model(),
            candidates=self.candidates,
            rerank_depth=self.rerank_depth,
            fusion=self.fusion,
            weights=self.weights,
            k=self.k,
            logits=ranker is not None and not ranker.scale_score,
        )
        texts = _contents if ranker is None else ranker.texts_of

        def retrieve(vector: FloatArray, fuse: Fuse) -> Call:
            hits = partial(fused_hits, fuse=fuse, texts_of=texts)
            return pair.ask(query, vector.tolist(), filters, self.candidates, hits)

        return pipeline.search(
            retrieve,
            query,
            limit=top_k,
            instruction=instruction,
            min_score=None if ranker is None else ranker.score_threshold,
        )

    def _request(
        self, query: str, filters: Any, top_k: int | None, instruction: str | None
    ) -> tuple[int, Any, str | None]:
        """Check a request before any work is done, and fill in the component's defaults."""
        check_query(query)
        check_count(top_k, "top_k", 1)
        count = self.top_k if top_k is None else top_k
        self._check_top_k(count)
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        return count, merged, self.instruction if instruction is None else instruction

    def _further(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in the component's values of arguments that only some searchers take."""
        chosen = {
            name: getattr(self, name) if given.get(name) is None else given[name]
            for name in _FURTHER
        }
        if isinstance(self.document_store, Searcher):
            return further_arguments(self.document_store, **chosen)
        for name, value in chosen.items():
            if value is not None:
                raise InputError(
                    f"`{name}` was given beside a {type(self.document_store).__name__}, and only "
                    "searchers take it. Leave it out, or give a HybridSearcher."
                )
        return {}

    def _models(self) -> list[Any]:
        return [inner for inner in (self.text_embedder, self.ranker) if inner is not None]

    def _check_search(self) -> None:
        """Check the search pipeline's arguments, before the models are created."""
        check_kind(self.text_embedder, Qwen3TextEmbedder, "text_embedder")
        if self.ranker is not None:
            check_kind(self.ranker, Qwen3Ranker, "ranker")
        check_count(self.candidates, "candidates", 1, required=True)
        check_count(self.rerank_depth, "rerank_depth", 0, required=True)
        fuse({DENSE: (), BM25: ()}, self.fusion, k=self.k, weights=self.weights)
        self._check_top_k(self.top_k)

    def _check_top_k(self, top_k: int) -> None:
        if self._pair is not None and top_k > self.candidates:
            raise InputError(
                f"`top_k` is {top_k}, but each retriever is asked for only {self.candidates} "
                f"candidates. Make the retriever with `candidates={top_k}` or more."
            )

    def _check_left_to_searcher(self) -> None:
        defaults = inspect.signature(type(self).__init__).parameters
        given = [name for name in _SEARCHERS if getattr(self, name) != defaults[name].default]
        if given:
            raise InputError(
                f"`{given[0]}` was given beside a searcher, which does that part itself. Give it "
                f"to the {type(self.document_store).__name__}, or give a document store."
            )


def _contents(documents: Sequence[Document]) -> list[str]:
    return [document.content or "" for document in documents]
