"""`HybridSearcher`: one collection searched by meaning and by words, fused, then reranked.

Validates, embeds, asks the legs, fuses, reranks, and keeps where each hit came from. Knows no
store's client and no model's inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from qwen3_rag import Hit, Qwen3Embedder, Qwen3Reranker, RankScore
from qwen3_rag.errors import InputError, InputTypeError, StoreError
from qwen3_rag.fusion import FusionMethod, fuse
from qwen3_rag.integration import FloatArray, check_count, check_instruction, check_query
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.candidates import candidates, hits_of
from qwen3_rag_hybrid.collection import Collection
from qwen3_rag_hybrid.documents import Document, Id, Point, check_ids
from qwen3_rag_hybrid.legs import DENSE, LEXICAL, Legs
from qwen3_rag_hybrid.settings import Finding
from qwen3_rag_hybrid.steps import Call, Steps, run, run_async
from qwen3_rag_hybrid.worker import Worker

__all__ = ["HybridSearcher"]

_ENCODER = BM25Encoder()


class HybridSearcher:
    """Searches one collection by meaning and by words, and reranks the best.

    Safe to share between threads and event loops. Models and clients stay yours; `close` closes
    what the legs opened themselves.

    Example:
        ```python
        searcher = HybridSearcher(QdrantEdgeStore("index"), Qwen3Embedder(), Qwen3Reranker())
        searcher.create()
        searcher.add([Document("france", "Paris is the capital of France.")])
        [hit] = searcher.search("What is the capital of France?", limit=1)
        hit.score, hit.legs["dense"].rank, hit.legs["lexical"].rank
        ```
    """

    def __init__(
        self,
        legs: Legs,
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
        """Keep the settings; store and models are first asked when they are used.

        Args:
            legs: The collection, such as `QdrantEdgeStore` or `QdrantStore`.
            embedder: Embeds documents and queries.
            reranker: Judges the best fused hits; without one their order is the last word.
            encoder: Weighs words; a collection is searched with the settings it was filled with.
            candidates: How many each leg is asked for. `offset + limit` cannot be more.
            rerank_depth: How many of the fused hits are reranked. Those behind follow in the order
                of fusion.
            fusion: `"rrf"` or `"relative_score"`.
            weights: Of the legs `"dense"` and `"lexical"`; 1 where not named.
            k: How flat RRF's reward is over the ranks.

        Raises:
            InputError: A number out of its range, an unknown fusion, or a weight of no leg.
            InputTypeError: Something that is no embedder, reranker or encoder.
        """
        _check_kind(
            legs, Legs, "legs", "QdrantEdgeStore, QdrantStore or a class with their methods"
        )
        _check_kind(embedder, Qwen3Embedder, "embedder", "a Qwen3Embedder")
        if reranker is not None:
            _check_kind(reranker, Qwen3Reranker, "reranker", "a Qwen3Reranker or None")
        _check_kind(encoder, BM25Encoder, "encoder", "a BM25Encoder")
        check_count(candidates, "candidates", 1)
        check_count(rerank_depth, "rerank_depth", 0)
        fuse({DENSE: [], LEXICAL: []}, fusion, k=k, weights=weights)
        self.legs = legs
        self.embedder = embedder
        self.reranker = reranker
        self.encoder = encoder
        self.candidates = candidates
        self.rerank_depth = rerank_depth
        self.fusion: FusionMethod = fusion
        self.weights = None if weights is None else dict(weights)
        self.k = k
        self._worker = Worker()
        self._collection = Collection(legs, embedder, encoder, self._store)

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
            InputError: A type of field that there is not.
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
            ids: The ids they were added with.

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
            query: The user's question, without any prompt text around it.
            limit: How many hits to return.
            offset: How many of the best hits to leave out first.
            filter: The store's own filter object, passed through unchanged to both legs.
            instruction: What the query is for, told to both models; their own when omitted.

        Returns:
            Best first, the same order every time. `legs` of a hit has its rank and score under
            `"dense"` and `"lexical"` where that leg found it, under `"fused"`, and under
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
            ids: The ids they were added with.
            vectors: Whether to read their vectors too.
        """
        return self.legs.retrieve(check_ids(ids), vectors=vectors)

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Go through all documents, in the store's order. Needs no model.

        Args:
            filter: The store's own filter object.
            vectors: Whether to read their vectors too.
        """
        self._check_filter(filter)
        return self.legs.scan(filter=filter, vectors=vectors)

    def count(self, *, filter: Any = None) -> int:
        """Count documents exactly; 0 where there is no collection. Needs no model.

        Args:
            filter: The store's own filter object.
        """
        self._check_filter(filter)
        return self.legs.count(filter=filter)

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
        """Stop the worker and close what the legs opened. Models and clients stay yours."""
        self._worker.close()
        self.legs.close()

    def __enter__(self) -> HybridSearcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise StoreError(
            "A HybridSearcher holds an open store and cannot be pickled or copied. Make one where "
            "it is needed, from the store's address and the models' names."
        )

    def __repr__(self) -> str:
        return f"HybridSearcher({self.legs!r}, {self.embedder!r}, {self.reranker!r})"

    def _search(
        self, query: str, limit: int, offset: int, filter: Any, instruction: str | None
    ) -> Steps[list[Hit]]:
        self._check_request(query, limit, offset, instruction)
        settings = yield from self._collection.ready()
        self.legs.check_filter(filter, settings.fields)
        [vector] = yield Call(
            partial(self.embedder.embed_queries, [query], instruction=instruction),
            partial(self.embedder.aembed_queries, [query], instruction=instruction),
        )
        reranker = self.reranker if self.rerank_depth else None
        depth = max(offset + limit, 0 if reranker is None else self.rerank_depth)
        hits: list[Hit] = yield self._store(partial(self._find, query, vector, depth, filter))
        if reranker is not None and hits:
            hits = yield from self._rerank(reranker, query, hits, instruction)
        return hits[offset : offset + limit]

    def _find(self, query: str, vector: FloatArray, depth: int, filter: Any) -> list[Hit]:
        """Everything between the two models, in one go: this is what the worker is for."""
        lexical = self.encoder.encode_query(query)
        ranked = candidates(self.legs, vector, lexical, self.candidates, filter)
        fused = fuse(ranked, self.fusion, k=self.k, weights=self.weights)
        return hits_of(self.legs, fused[:depth])

    def _rerank(
        self, reranker: Qwen3Reranker, query: str, hits: list[Hit], instruction: str | None
    ) -> Steps[list[Hit]]:
        best, rest = hits[: self.rerank_depth], hits[self.rerank_depth :]
        texts = [hit.text for hit in best]
        ranked = yield Call(
            partial(reranker.rank, query, texts, instruction=instruction),
            partial(reranker.arank, query, texts, instruction=instruction),
        )
        reranked = []
        for rank, document in enumerate(ranked, 1):
            hit = best[document.index]
            legs = {**hit.legs, "rerank": RankScore(rank, document.score)}
            reranked.append(replace(hit, score=document.score, legs=legs))
        return reranked + rest

    def _check_request(self, query: str, limit: int, offset: int, instruction: str | None) -> None:
        check_query(query)
        check_count(limit, "limit", 1)
        check_count(offset, "offset", 0)
        if instruction is not None:
            check_instruction(instruction)
        if offset + limit > self.candidates:
            raise InputError(
                f"`offset + limit` is {offset + limit}, and each leg is asked for "
                f"{self.candidates} candidates, which is as far as an order can be trusted. Make "
                f"the searcher with `candidates={offset + limit}` or more."
            )

    def _check_filter(self, filter: Any) -> None:
        if filter is not None:
            settings = self.legs.settings()
            self.legs.check_filter(filter, settings.fields if settings else {})

    def _store(self, work: Callable[[], Any]) -> Call:
        return Call(work, partial(self._worker.run, work))


def _check_kind(value: object, kind: type, name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise InputTypeError(f"`{name}` must be {wanted}, got {value!r} ({type(value).__name__}).")
