"""`ExactSearcher`: searches a collection in memory, and looks at every document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

from qwen3_rag import Hit, Qwen3Embedder, RankScore
from qwen3_rag.errors import InputError
from qwen3_rag.fusion import Id, rrf
from qwen3_rag.integration import Call, FloatArray, Flow, Progress, run, run_async
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import BM25, DENSE, Fuse, SearchPipeline
from qwen3_rag_hybrid.lengths import fitting_length

__all__ = ["BM25Index", "DenseIndex", "ExactSearcher"]

_NEAR = 1e-6  # more than what scores that tie can differ by


class DenseIndex:
    """The vectors of documents."""

    def __init__(self, vectors: FloatArray) -> None:
        """Keep the vectors, `[documents, dim]`, of unit length."""
        self._vectors = vectors

    @classmethod
    def of(
        cls, embedder: Qwen3Embedder, documents: Mapping[str, str], *, progress: Progress = False
    ) -> DenseIndex:
        """Embed documents.

        Args:
            embedder: Embeds them.
            documents: The texts by id.
            progress: Whether to show a progress bar; see `Qwen3Embedder.embed_documents`.
        """
        return cls(embedder.embed_documents([*documents.values()], progress=progress))

    def scores(self, vector: FloatArray) -> NDArray[np.float32]:
        """Return the cosine of a query's vector with each document's."""
        found: NDArray[np.float32] = self._vectors @ vector
        return found


class BM25Index:
    """The terms of documents, with the IDF that Qdrant computes."""

    def __init__(self, documents: Mapping[str, str], encoder: BM25Encoder | None = None) -> None:
        """Encode documents.

        Args:
            documents: The texts by id.
            encoder: Encodes them; when omitted, one with the mean length that a new collection of
                `HybridSearcher` gets.
        """
        texts = [*documents.values()]
        self.encoder = encoder or BM25Encoder(avg_len=fitting_length(texts))
        vectors = [self.encoder.encode_document(text) for text in texts]
        rows = np.repeat(np.arange(len(vectors)), [len(one) for one in vectors])
        terms = np.concatenate([one.indices for one in vectors])
        values = np.concatenate([one.values for one in vectors]).astype(np.float64)
        self._terms, columns = np.unique(terms, return_inverse=True)
        counts = np.bincount(columns, minlength=len(self._terms))
        idf = np.log((len(vectors) - counts + 0.5) / (counts + 0.5) + 1)
        shape = (len(vectors), len(self._terms))
        self._weights = csc_matrix((values * idf[columns], (rows, columns)), shape=shape)

    def scores(self, query: str) -> NDArray[np.float64]:
        """Return each document's score; 0 without a term of the query."""
        vector = self.encoder.encode_query(query)
        known = np.isin(vector.indices, self._terms)
        columns = np.searchsorted(self._terms, vector.indices[known])
        found: NDArray[np.float64] = self._weights[:, columns] @ vector.values[known].astype(float)
        return found


class ExactSearcher:
    """Answers queries from a collection in memory, with the steps and numbers of `HybridSearcher`.

    Every document is scored, so that what is measured is the models and not a store's graph. Memory
    is what the vectors take: 4 bytes times documents times dim.
    """

    def __init__(
        self,
        pipeline: SearchPipeline,
        documents: Mapping[str, str],
        *,
        dense: DenseIndex | None = None,
        bm25: BM25Index | None = None,
    ) -> None:
        """Set what is searched.

        Args:
            pipeline: Embeds queries, fuses and reranks.
            documents: The texts by id.
            dense: Their vectors; `None` to search by BM25 alone.
            bm25: Their terms; `None` to search by vectors alone.

        Raises:
            InputError: Both indexes are `None`.
        """
        if dense is None and bm25 is None:
            raise InputError("There is nothing to search: give `dense`, `bm25` or both.")
        self.pipeline = pipeline
        self._documents = documents
        self._ids = [*documents]
        self._dense, self._bm25 = dense, bm25

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        """Search; see `Searcher.search`. Documents have no fields, so there is no `filter`.

        Raises:
            InputError: The query is blank, a number is out of range, or there is a filter.
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

    def _search(
        self, query: str, limit: int, offset: int, filter: Any, instruction: str | None
    ) -> Flow[list[Hit]]:
        if filter is not None:
            raise InputError("A collection in memory has no fields to filter by. Leave it out.")

        def retrieve(vector: FloatArray, fuse: Fuse) -> Call:
            find = partial(self._find, query, vector, fuse)

            async def found() -> list[Hit]:
                return find()

            return Call(find, found)

        return (
            yield from self.pipeline.search(
                retrieve, query, limit=limit, offset=offset, instruction=instruction
            )
        )

    def _find(self, query: str, vector: FloatArray, fuse: Fuse) -> list[Hit]:
        lists: dict[str, list[tuple[Id, float]]] = {}
        if self._dense is not None:
            lists[DENSE] = self._best(self._dense.scores(vector), -np.inf)
        if self._bm25 is not None:
            lists[BM25] = self._best(self._bm25.scores(query), 0.0)
        return [
            Hit(
                one.id,
                self._documents[str(one.id)],
                one.score,
                ranks={**one.ranks, "fused": RankScore(rank, one.score)},
            )
            for rank, one in enumerate(fuse(lists), 1)
        ]

    def _best(self, scores: NDArray[np.floating], above: float) -> list[tuple[Id, float]]:
        """Return the best candidates; where the last of them ties, those that are first by id."""
        count = min(self.pipeline.candidates, len(scores))
        least = float(np.partition(scores, len(scores) - count)[len(scores) - count])
        near = least - _NEAR * max(abs(least), 1.0)
        places = np.flatnonzero((scores >= near) & (scores > above))
        hits: list[tuple[Id, float]] = [(self._ids[one], float(scores[one])) for one in places]
        return [(one.id, one.ranks[""].score) for one in rrf({"": hits}, limit=count)]
