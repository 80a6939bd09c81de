"""`HybridSearcher`: one collection searched by dense vectors and BM25, fused and reranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from qwen3_rag import Hit, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.errors import InputTypeError, StoreError
from qwen3_rag.fusion import FusionMethod
from qwen3_rag.integration import Call, Closing, FloatArray, Flow, run, run_async
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import Fuse, SearchPipeline
from qwen3_rag_hybrid.collection import Collection
from qwen3_rag_hybrid.documents import Document, Id, Point, check_ids
from qwen3_rag_hybrid.retrieval import find_candidates, find_hits
from qwen3_rag_hybrid.stores.base import Query, Store
from qwen3_rag_hybrid.stores.record import Finding
from qwen3_rag_hybrid.worker import StoreCalls

__all__ = ["HybridSearcher"]

_ENCODER = BM25Encoder()


class HybridSearcher(Closing):
    """Searches one collection by dense vectors and by BM25, fuses the two, and reranks the best.

    Safe to share between threads and event loops. `close` closes the store; the models, and a
    client that the store was given, stay open.

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
        encoder: BM25Encoder = _ENCODER,
        candidates: int = 100,
        rerank_depth: int = 50,
        fusion: FusionMethod = "rrf",
        weights: Mapping[str, float] | None = None,
        k: float = 60,
    ) -> None:
        """Check the arguments; store and models are first asked when they are used.

        Args:
            store: The collection, such as `QdrantEdgeStore` or `QdrantStore`.
            embedder: Embeds documents and queries.
            reranker: Judges the best fused hits; without one the fused order is final.
            encoder: Weighs terms; a collection is searched with the parameters it was filled with.
            candidates: How many hits each retriever is asked for. `offset + limit` cannot be more.
            rerank_depth: How many of the fused hits are reranked; those behind keep the fused
                order.
            fusion: `"rrf"` or `"relative_score"`.
            weights: Weights of the retrievers `"dense"` and `"bm25"`; 1 if not given.
            k: RRF's rank constant; larger values reduce the advantage of the top ranks.

        Raises:
            InputError: A number is out of range, the fusion is unknown, or a weight names no
                retriever.
            InputTypeError: Something that is no store, embedder, reranker or encoder.
        """
        _check_kind(store, Store, "store", "a Store such as QdrantEdgeStore or QdrantStore")
        _check_kind(encoder, BM25Encoder, "encoder", "a BM25Encoder")
        self.store = store
        self.encoder = encoder
        self.pipeline = SearchPipeline(
            embedder=embedder,
            reranker=reranker,
            candidates=candidates,
            rerank_depth=rerank_depth,
            fusion=fusion,
            weights=None if weights is None else dict(weights),
            k=k,
        )
        self._calls = StoreCalls(store)
        self._collection = Collection(store, embedder, encoder, self._calls)

    @property
    def embedder(self) -> Qwen3Embedder:
        """Embeds documents and queries."""
        return self.pipeline.embedder

    @property
    def reranker(self) -> Qwen3Reranker | None:
        """Judges the best fused hits."""
        return self.pipeline.reranker

    def create(self, *, fields: Mapping[str, str] | None = None, adopt: bool = False) -> None:
        """Make the collection, and record the model, dim and encoder it is for.

        Nothing where that has been done, save that new `fields` are added.

        Args:
            fields: Payload fields to filter by, and their types: `"keyword"`, `"integer"`,
                `"float"`, `"bool"`, `"datetime"`, `"text"`, `"uuid"` or `"geo"`. Each is indexed
                where the store has indexes. Once fields are declared, a filter on another is an
                `InputError`; while none are, nobody can know and it finds nothing.
            adopt: Whether to take over a collection of your own that has points but no record.

        Raises:
            InputError: A type of field that the store does not have.
            StoreError: The collection is there and does not fit, or cannot be made.
        """
        run(self._collection.create(fields, adopt))

    async def acreate(
        self, *, fields: Mapping[str, str] | None = None, adopt: bool = False
    ) -> None:
        """Make the collection without blocking the event loop; see `create`."""
        await run_async(self._collection.create(fields, adopt))

    def add(
        self, documents: Iterable[Document], *, progress: bool = False, batch_size: int = 256
    ) -> int:
        """Embed documents and write them; one whose id is there replaces it.

        All of them are checked before the first is written. Interrupted, whole batches are
        there; adding everything again gives what an uninterrupted run would have.

        Args:
            documents: What to add; of several with one id the last counts.
            progress: Whether to show a bar on a terminal.
            batch_size: How many are embedded and written at once.

        Returns:
            How many documents were given.

        Raises:
            InputError: A document that cannot be stored: its id, text or payload.
            StoreError: No collection, one of another model, dim or encoder, or a failed write.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._collection.add(documents, progress, batch_size))

    async def aadd(
        self, documents: Iterable[Document], *, progress: bool = False, batch_size: int = 256
    ) -> int:
        """Add documents without blocking the event loop; see `add`."""
        return await run_async(self._collection.add(documents, progress, batch_size))

    def delete(self, ids: Iterable[Id]) -> None:
        """Remove documents; ids that are not there are no error. Needs no model.

        Args:
            ids: Ids of the documents, as passed to `add`.

        Raises:
            InputError: Something that can be no id.
            StoreError: No collection, or a failed write.
        """
        run(self._collection.delete(ids))

    async def adelete(self, ids: Iterable[Id]) -> None:
        """Remove documents without blocking the event loop; see `delete`."""
        await run_async(self._collection.delete(ids))

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        """Search.

        Args:
            query: The user's question, without any prompt text.
            limit: How many hits to return.
            offset: Number of top hits to skip.
            filter: The store's own filter object, passed on unchanged for both retrievers.
            instruction: What the query is for, passed to both models; defaults to each model's own.

        Returns:
            Best first, the same order every time. `ranks` of a hit has its rank and score under
            `"dense"` and `"bm25"` where that retriever found it, under `"fused"`, and under
            `"rerank"` where it was reranked. `score` is that of the last of these.

        Raises:
            InputError: A blank query, a number out of its range, or a filter on an unknown field.
            StoreError: No collection, one of another model, dim or encoder, or a failed read.
            ModelError: The checkpoint is missing or broken.
            BackendError: A model could not be run, or was closed.
        """
        return run(self._search(query, limit, offset, filter, instruction))

    async def asearch(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        """Search without blocking the event loop; see `search`."""
        return await run_async(self._search(query, limit, offset, filter, instruction))

    def retrieve(self, ids: Iterable[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look documents up by id; those that are not there are left out. Needs no model.

        Args:
            ids: Ids of the documents, as passed to `add`.
            vectors: Whether to read their vectors too.
        """
        return self.store.retrieve(check_ids(ids), vectors=vectors)

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Go through all documents, in the store's order. Needs no model.

        Args:
            filter: The store's own filter object.
            vectors: Whether to read their vectors too.
        """
        self._check_filter(filter)
        return self.store.scan(filter=filter, vectors=vectors)

    def count(self, *, filter: Any = None) -> int:
        """Count documents exactly; 0 where there is no collection. Needs no model.

        Args:
            filter: The store's own filter object.
        """
        self._check_filter(filter)
        return self.store.count(filter=filter)

    def check_collection(self) -> list[Finding]:
        """Name everything about the collection that does not fit, and what to do about it.

        Returns:
            Errors and warnings; none when all is well.
        """
        return run(self._collection.check_collection())

    async def acheck_collection(self) -> list[Finding]:
        """Check without blocking the event loop; see `check_collection`."""
        return await run_async(self._collection.check_collection())

    def close(self) -> None:
        """Close the store and end the thread; models, and a client of yours, stay open."""
        self._calls.close()
        self.store.close()

    def __reduce__(self) -> Any:
        raise StoreError(
            "A HybridSearcher holds an open store and cannot be pickled or copied. Make one where "
            "it is needed, from the store's address and the models' names."
        )

    def __repr__(self) -> str:
        return f"HybridSearcher({self.store!r}, {self.embedder!r}, {self.reranker!r})"

    def _search(
        self, query: str, limit: int, offset: int, filter: Any, instruction: str | None
    ) -> Flow[list[Hit]]:
        self.pipeline.check_request(query, limit, offset, instruction)
        record = yield from self._collection.ready()
        if filter is not None:
            self.store.check_filter(filter, record.fields)

        def retrieve(vector: FloatArray, fuse: Fuse) -> Call:
            find = partial(self._find, query, vector, fuse, filter)
            return Call(lambda: run(find()), lambda: run_async(find()))

        return (
            yield from self.pipeline.search(
                retrieve, query, limit=limit, offset=offset, instruction=instruction
            )
        )

    def _find(self, text: str, vector: FloatArray, fuse: Fuse, filter: Any) -> Flow[list[Hit]]:
        query = Query(vector, self.encoder.encode_query(text), self.encoder.tokens(text))
        depth = self.pipeline.candidates
        lists = yield from find_candidates(self._calls, query, depth, filter)
        return (yield from find_hits(self._calls, fuse(lists)))

    def _check_filter(self, filter: Any) -> None:
        if filter is not None:
            record = self.store.record()
            self.store.check_filter(filter, record.fields if record else {})


def _check_kind(value: object, kind: type, name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise InputTypeError(f"`{name}` must be {wanted}, got {value!r} ({type(value).__name__}).")
