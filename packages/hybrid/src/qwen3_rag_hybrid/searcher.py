"""`HybridSearcher`: one collection searched by dense vectors and BM25, fused and reranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qwen3_rag import Hit, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.errors import InputTypeError, StoreError
from qwen3_rag.fusion import DEFAULT_CANDIDATES, DEFAULT_FUSION, FusionMethod
from qwen3_rag.integration import Closing, run, run_async
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import SearchPipeline
from qwen3_rag_hybrid.collection import Collection
from qwen3_rag_hybrid.documents import Document, Id, Point, check_ids
from qwen3_rag_hybrid.searching import Request, search
from qwen3_rag_hybrid.stores.base import Store
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.worker import StoreCalls

__all__ = ["HybridSearcher"]


class HybridSearcher(Closing):
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

    def create(
        self,
        *,
        fields: Mapping[str, str] | None = None,
        sample: Iterable[str] | None = None,
        adopt: bool = False,
        tenants: bool = False,
        short_dim: int | None = None,
    ) -> None:
        """Create the collection, and record its model, dim and encoder.

        If it exists already, only new `fields` are added.

        Args:
            fields: Payload fields to filter by, and their types: `"keyword"`, `"integer"`,
                `"float"`, `"bool"`, `"datetime"`, `"text"`, `"uuid"` or `"geo"`. Each is indexed if
                the store has indexes. Once fields are declared, a filter on any other field is an
                `InputError`; without declared fields, such a filter finds nothing.
            sample: Texts like those of a new collection, to measure `avg_len` of the BM25 encoder;
                fewer than 200 leave the default. Without a sample, the first `add` measures it.
            adopt: Whether to use an existing collection that has points but no record.
            tenants: Whether each document of a new collection belongs to a tenant. Documents are
                then added, found, counted and deleted for one tenant at a time, which `tenant`
                names, and never seen by another.
            short_dim: Find candidates by the first numbers of their vectors, this many of them, and
                score these by their whole vectors: less memory for a large collection, with a few
                candidates missed. Chosen when the collection is made.

        Raises:
            InputError: The store does not support a field's type, `sample` is given beside
                `encoder`, or `short_dim` is below 32 or not below the size of the vectors.
            StoreError: The collection exists and does not match, or cannot be created; or the
                store cannot keep tenants apart.
        """
        run(self._collection.create(fields, sample, adopt, tenants, short_dim))

    async def acreate(
        self,
        *,
        fields: Mapping[str, str] | None = None,
        sample: Iterable[str] | None = None,
        adopt: bool = False,
        tenants: bool = False,
        short_dim: int | None = None,
    ) -> None:
        """Create the collection without blocking the event loop; see `create`."""
        await run_async(self._collection.create(fields, sample, adopt, tenants, short_dim))

    def add(
        self,
        documents: Iterable[Document],
        *,
        progress: bool = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Embed and write documents; a document with an existing id replaces the old one.

        All documents are checked before the first is written. If the call is interrupted, complete
        batches have been written; adding all documents again gives the result of an uninterrupted
        call.

        The first call on an empty collection measures the mean length of its documents for BM25,
        if there are at least 200, unless an `encoder` or a sample was given. It is recorded with
        the collection and used from then on.

        Args:
            documents: The documents to add. If several have the same id, the last one counts.
            progress: Whether to show a progress bar on a terminal.
            batch_size: Number of documents to embed and write at once.
            tenant: The tenant that the documents belong to; needed if the collection has tenants.

        Returns:
            The number of documents passed.

        Raises:
            InputError: A document's id, text or payload is invalid; or the collection has tenants
                and none is named, or the other way round.
            StoreError: The collection does not exist, has another model, dim or encoder, or cannot
                be written.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._collection.add(documents, progress, batch_size, tenant))

    async def aadd(
        self,
        documents: Iterable[Document],
        *,
        progress: bool = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Add documents without blocking the event loop; see `add`."""
        return await run_async(self._collection.add(documents, progress, batch_size, tenant))

    def replace(
        self,
        documents: Iterable[Document],
        *,
        by: str,
        values: Iterable[str | int] | None = None,
        progress: bool = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Replace all chunks of some texts, such as files, by new ones.

        The new documents are written first. Then, all others with the same value in the payload
        field `by` are deleted. If the call is interrupted, some of the others are still there, and
        calling it again gives the result of an uninterrupted call.

        Args:
            documents: The new documents.
            by: A declared payload field of the type `"keyword"`, `"integer"` or `"uuid"`, which
                says what a document is a chunk of.
            values: The values of `by` whose documents are replaced. Those of the new documents
                when omitted; needed for a text that has no chunks any more.
            progress: As in `add`.
            batch_size: As in `add`.
            tenant: As in `add`.

        Returns:
            The number of documents deleted.

        Raises:
            InputError: As in `add`; or `by` is not such a field, a document has no value there or
                one that is not in `values`, or there are neither documents nor values.
            StoreError: As in `add`.
            ModelError: As in `add`.
            BackendError: As in `add`.
        """
        replacing = self._collection.replace(documents, by, values, progress, batch_size, tenant)
        return run(replacing)

    async def areplace(
        self,
        documents: Iterable[Document],
        *,
        by: str,
        values: Iterable[str | int] | None = None,
        progress: bool = False,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> int:
        """Replace chunks without blocking the event loop; see `replace`."""
        replacing = self._collection.replace(documents, by, values, progress, batch_size, tenant)
        return await run_async(replacing)

    def delete(
        self,
        ids: Iterable[Id] | None = None,
        *,
        filter: Any = None,
        everything: bool = False,
        tenant: str | None = None,
    ) -> None:
        """Delete documents. Needs no model.

        Args:
            ids: Ids of the documents, as passed to `add`; unknown ids are ignored.
            filter: The store's own filter object. Beside `ids`, only documents that pass it.
            everything: Whether to delete all documents; then, there are no `ids` and no `filter`.
            tenant: The tenant whose documents to delete; needed if the collection has tenants.

        Raises:
            InputError: An id is invalid, the filter names an unknown field or has no conditions, or
                nothing says what to delete; or `tenant` is invalid, as in `add`.
            StoreError: The collection does not exist or cannot be written.
        """
        run(self._collection.delete(ids, filter, everything, tenant))

    async def adelete(
        self,
        ids: Iterable[Id] | None = None,
        *,
        filter: Any = None,
        everything: bool = False,
        tenant: str | None = None,
    ) -> None:
        """Delete documents without blocking the event loop; see `delete`."""
        await run_async(self._collection.delete(ids, filter, everything, tenant))

    def tenants(self) -> list[str]:
        """List the tenants that have documents, in alphabetical order. Needs no model.

        Empty for a collection without tenants.
        """
        return self.store.tenants()

    def delete_tenant(self, tenant: str) -> None:
        """Delete all documents of a tenant; an unknown one is ignored. Needs no model.

        Args:
            tenant: The tenant's name.

        Raises:
            InputError: The name is invalid, or the collection has no tenants.
            StoreError: The collection does not exist or cannot be written.
        """
        run(self._collection.delete_tenant(tenant))

    async def adelete_tenant(self, tenant: str) -> None:
        """Delete a tenant without blocking the event loop; see `delete_tenant`."""
        await run_async(self._collection.delete_tenant(tenant))

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
