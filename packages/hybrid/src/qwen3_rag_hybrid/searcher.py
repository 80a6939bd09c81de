"""`HybridSearcher`: one collection searched by dense vectors and BM25, fused and reranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

from qwen3_rag import Hit, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.errors import InputTypeError, StoreError
from qwen3_rag.fusion import DEFAULT_CANDIDATES, DEFAULT_FUSION, FusionMethod
from qwen3_rag.integration import Closing, run, run_async
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import SearchPipeline
from qwen3_rag_hybrid.collection import Collection
from qwen3_rag_hybrid.documents import Id, Point, check_ids
from qwen3_rag_hybrid.searching import Request, search
from qwen3_rag_hybrid.stores.base import Store
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.worker import StoreCalls
from qwen3_rag_hybrid.writing import Writing

__all__ = ["HybridSearcher"]


class HybridSearcher(Writing, Closing):
    """Searches one collection by dense vectors and by BM25, fuses the two, and reranks the best.

    Safe to share between threads and event loops. `close` closes the store; the models, and a
    client that you passed to the store, stay open.

    Example:
        ```python
        searcher = HybridSearcher(QdrantEdgeStore("index"), Qwen3Embedder(), Qwen3Reranker())
        searcher.create()
        searcher.add([Document("france", "Paris is the capital of France.")])
        [hit] = searcher.search("What is the capital of France?", limit=1)
        hit.score, hit.ranks["dense"].rank, hit.ranks["bm25"].rank
        ```
    """

    def __init__(
        self,
        store: Store,
        embedder: Qwen3Embedder,
        reranker: Qwen3Reranker | None = None,
        *,
        encoder: BM25Encoder | None = None,
        candidates: int = DEFAULT_CANDIDATES,
        rerank_depth: int = 50,
        fusion: FusionMethod = DEFAULT_FUSION,
        weights: Mapping[str, float] | None = None,
        k: float = 60,
    ) -> None:
        """Check the arguments; models and store are not used before the first call.

        Args:
            store: The collection, such as `QdrantEdgeStore` or `QdrantStore`.
            embedder: Embeds documents and queries.
            reranker: Reranks the best fused hits; without one the fused order is final.
            encoder: Computes the BM25 vectors. When omitted, the collection's record decides, and a
                new collection's mean length is measured: see `create` and `add`.
            candidates: Number of hits to take from each retriever; the maximum of `offset + limit`.
            rerank_depth: Number of fused hits to rerank; the remaining hits keep the fused order.
            fusion: `"relative_score"` or `"rrf"`.
            weights: Weights of the retrievers `"dense"` and `"bm25"`; 1 if not given.
            k: RRF's rank constant, for `"rrf"` only; larger values reduce the advantage of the top
                ranks.

        Raises:
            InputError: A number is out of range, the fusion is unknown, or a weight names no
                retriever.
            InputTypeError: An argument is not a store, embedder, reranker or encoder.
        """
        _check_kind(store, Store, "store", "a Store such as QdrantEdgeStore or QdrantStore")
        if encoder is not None:
            _check_kind(encoder, BM25Encoder, "encoder", "a BM25Encoder")
        self.store = store
        self.pipeline = SearchPipeline(
            embedder=embedder,
            reranker=reranker,
            candidates=candidates,
            rerank_depth=rerank_depth,
            fusion=fusion,
            weights=dict(weights) if isinstance(weights, Mapping) else weights,
            k=k,
        )
        self._calls = StoreCalls(store)
        self._collection = Collection(store, embedder, encoder, self._calls)

    @property
    def encoder(self) -> BM25Encoder:
        """Computes the BM25 vectors; the collection's own after its first use."""
        return self._collection.encoder

    @property
    def embedder(self) -> Qwen3Embedder:
        """The model that embeds documents and queries."""
        return self.pipeline.embedder

    @property
    def reranker(self) -> Qwen3Reranker | None:
        """The model that reranks the best fused hits."""
        return self.pipeline.reranker

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        ids: Iterable[Id] | None = None,
        instruction: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        tenant: str | None = None,
    ) -> list[Hit]:
        """Search.

        Args:
            query: The user's question, without any prompt text.
            limit: Number of hits to return; of groups, if hits are grouped.
            offset: Number of top hits or groups to skip.
            filter: The store's own filter object, for both retrievers.
            ids: Ids of the only documents to search, as passed to `add`. They must pass `filter`
                too.
            instruction: What the query is for, passed to both models; defaults to each model's own.
            min_score: Minimum score of a hit, as the reranker gives it. Only reranked hits can
                reach it, so at most `rerank_depth` are returned, perhaps none.
            group_by: Payload field whose value is a hit's group, such as the document that a chunk
                is from; `"a.b"` is the field `"b"` in `"a"`. Of each group, only the best hits are
                returned. A hit without the field, or with a null, is a group of its own.
            per_group: Number of hits to return of each group.
            tenant: The tenant whose documents to search; needed if the collection has tenants. One
                that has no documents finds nothing.

        Returns:
            Best first, in a deterministic order. A hit's `ranks` has its rank and score under
            `"dense"` and `"bm25"` if that retriever found it, under `"fused"`, and under `"rerank"`
            if it was reranked. `score` is that of the last step.

        Raises:
            InputError: The query is blank, a number is out of range, the filter or `group_by` names
                an unknown field, there is a `min_score` and nothing is reranked, or `tenant` is
                invalid, as in `add`.
            StoreError: The collection does not exist, has another model, dim or encoder, or cannot
                be read.
            ModelError: The checkpoint is missing or broken.
            BackendError: A model could not be run, or was closed.
        """
        among = None if ids is None else check_ids(ids)
        request = Request(
            query, limit, offset, filter, among, instruction, min_score, group_by, per_group
        )
        calls = self._calls.for_tenant(tenant)
        return run(search(self.pipeline, self._collection, calls, request))

    async def asearch(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        ids: Iterable[Id] | None = None,
        instruction: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        tenant: str | None = None,
    ) -> list[Hit]:
        """Search without blocking the event loop; see `search`."""
        among = None if ids is None else check_ids(ids)
        request = Request(
            query, limit, offset, filter, among, instruction, min_score, group_by, per_group
        )
        calls = self._calls.for_tenant(tenant)
        return await run_async(search(self.pipeline, self._collection, calls, request))

    def tuned(self, **options: Any) -> Self:
        """Return a searcher of the same collection with other options; only one is to be closed.

        Args:
            **options: Those of `SearchPipeline`, such as `candidates`, `rerank_depth`, `weights`.

        Raises:
            InputError: A number is out of range, the fusion is unknown, or a weight names no
                retriever.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, pipeline=replace(self.pipeline, **options))
        return twin

    def retrieve(
        self, ids: Iterable[Id], *, vectors: bool = False, tenant: str | None = None
    ) -> dict[Id, Point]:
        """Look up documents by id; unknown ids are left out. Needs no model.

        Args:
            ids: Ids of the documents, as passed to `add`.
            vectors: Whether to also read the vectors.
            tenant: The tenant whose documents to read; needed if the collection has tenants.
        """
        return self._store(tenant).retrieve(check_ids(ids), vectors=vectors)

    def scan(
        self, *, filter: Any = None, vectors: bool = False, tenant: str | None = None
    ) -> Iterator[Point]:
        """Iterate over all documents, in the store's order. Needs no model.

        Args:
            filter: The store's own filter object.
            vectors: Whether to also read the vectors.
            tenant: The tenant whose documents to read; needed if the collection has tenants.
        """
        store = self._store(tenant)
        return store.scan(filter=_prepared(filter, store), vectors=vectors)

    def count(self, *, filter: Any = None, tenant: str | None = None) -> int:
        """Count documents exactly; 0 if the collection does not exist. Needs no model.

        Args:
            filter: The store's own filter object.
            tenant: The tenant whose documents to count; needed if the collection has tenants.
        """
        store = self._store(tenant)
        return store.count(filter=_prepared(filter, store))

    def check_collection(self) -> list[Finding]:
        """List all problems with the collection, and what to do about them.

        Returns:
            Errors and warnings; empty if there are no problems.
        """
        return run(self._collection.check_collection())

    async def acheck_collection(self) -> list[Finding]:
        """Check without blocking the event loop; see `check_collection`."""
        return await run_async(self._collection.check_collection())

    def close(self) -> None:
        """Close the store and end the thread; the models and your own client stay open."""
        self._calls.close()
        self.store.close()

    def __reduce__(self) -> Any:
        raise StoreError(
            "A HybridSearcher holds an open store and cannot be pickled or copied. Make one where "
            "it is needed, from the store's address and the models' names."
        )

    def __repr__(self) -> str:
        return f"HybridSearcher({self.store!r}, {self.embedder!r}, {self.reranker!r})"

    def _store(self, tenant: str | None) -> Store:
        return self.store if tenant is None else self.store.for_tenant(tenant)


def _prepared(filter: Any, store: Store) -> Any:
    """Check a filter, and replace the documents' ids in it."""
    if filter is None:
        return None
    record = store.record()
    store.check_filter(filter, record.fields if record else {})
    return store.with_ids(filter)


def _check_kind(value: object, kind: type, name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise InputTypeError(f"`{name}` must be {wanted}, got {value!r} ({type(value).__name__}).")
