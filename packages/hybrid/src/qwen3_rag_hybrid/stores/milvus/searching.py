"""Searches in a Milvus collection, for blocking and for async clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Flow
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.milvus.access import STRONG, Access
from qwen3_rag_hybrid.stores.milvus.filters import within
from qwen3_rag_hybrid.stores.milvus.rows import join_terms
from qwen3_rag_hybrid.stores.reads import ReadingStore, aside
from qwen3_rag_hybrid.stores.short import OVERSAMPLING, SHORT, rescored, shortened

__all__ = ["Searching"]

_MOST_HITS = 16_384  # that Milvus returns


class Searching(Access, ReadingStore):
    """The searches and look-ups of `MilvusStore`."""

    def searching(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        """Search by vector and by terms, in two requests; see `Store.search`.

        Milvus's hybrid search would be one, but it returns one fused list.
        """
        return self._doing("Searching", self._search(query, limit, filter))

    def retrieving(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        """Look up documents; see `Store.retrieve`."""
        return self._doing("Reading", self._retrieve(ids, vectors))

    def _search(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        yield from self._prepare()
        dense, short_dim = self._names.dense, query.short_dim
        if short_dim is None:
            requests = [self._request(dense, query.vector.tolist(), limit, filter)]
        else:
            short = shortened(query.vector, short_dim).tolist()
            requests = [self._request(SHORT, short, OVERSAMPLING * limit, filter, [dense])]
        if words := query.text or join_terms(query.terms):
            requests.append(self._request(self._sparse(), words, limit, filter))
        [[found], *others] = yield self._ask(requests)
        if short_dim is None:
            cosines = self._scored(DENSE, found)
        else:
            vectors = [(self._read_id(hit), hit["entity"][dense]) for hit in found]
            cosines = yield aside(partial(rescored, query.vector, vectors, limit))
        return {
            DENSE: cosines,
            BM25: [hit for [hits] in others for hit in self._scored(BM25, hits)],
        }

    def _retrieve(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        yield from self._prepare()
        encoder = (yield aside(self._encoder)) if vectors else None
        points: dict[Id, Point] = {}
        for page in self._pages(ids):
            query = partial(_query, self.collection, page, self._output(vectors))
            [rows] = yield self._ask([query])
            for row in rows:
                point = self._read(row, encoder)
                points[point.document.id] = point
        return points

    def _request(
        self, field: str, value: Any, limit: int, filter: Any, output: Sequence[str] = ()
    ) -> Callable[[Any], Any]:
        """Make a search by a vector's field among the tenant's documents that pass a filter."""
        return lambda client: client.search(
            self.collection,
            data=[value],
            anns_field=field,
            limit=min(limit, _MOST_HITS),
            filter=within(self.tenant, filter, self._names),
            output_fields=[self._names.id, *output],
            consistency_level=STRONG,
        )

    def _scored(self, name: str, hits: Sequence[Mapping[str, Any]]) -> list[tuple[Id, float]]:
        """Return the hits' ids and scores, of which more is better."""
        scores = [hit["distance"] for hit in hits]
        if name == BM25:  # Milvus Lite negates them
            scores = [-one for one in scores] if any(one < 0 for one in scores) else scores
        elif self._foreign is not None and self._described().metric(self._names.dense) == "L2":
            scores = [1 - one / 2 for one in scores]  # the cosine of vectors of unit length
        return [(self._read_id(hit), score) for hit, score in zip(hits, scores, strict=True)]


def _query(collection: str, filter: str, output: Sequence[str], client: Any) -> Any:
    return client.query(collection, filter=filter, output_fields=output, consistency_level=STRONG)
