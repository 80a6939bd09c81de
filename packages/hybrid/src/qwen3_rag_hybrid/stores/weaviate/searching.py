"""Searches and look-ups in a Weaviate collection, for blocking and for async clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from weaviate.classes.query import MetadataQuery

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Call, Flow
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.reads import aside
from qwen3_rag_hybrid.stores.short import OVERSAMPLING, SHORT, rescored, shortened
from qwen3_rag_hybrid.stores.weaviate.layouts import Layout

__all__ = ["PAGE", "Ask", "reading", "retrieve", "search"]

PAGE = 256

#: Runs requests, each given the client's `collection.query`, and gives their answers.
Ask: TypeAlias = Callable[[Sequence[Callable[[Any], Any]]], Call]


def search(ask: Ask, layout: Layout, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
    """Search by vector and by terms; see `Store.search`."""
    words = query.text or " ".join(query.terms)

    def dense(queries: Any) -> Any:
        return queries.near_vector(
            query.vector.tolist(),
            target_vector=layout.dense,
            limit=limit,
            filters=filter,
            return_properties=list(layout.id_properties),
            return_metadata=MetadataQuery(distance=True),
        )

    def short(queries: Any) -> Any:
        assert query.short_dim is not None
        return queries.near_vector(
            shortened(query.vector, query.short_dim).tolist(),
            target_vector=SHORT,
            limit=OVERSAMPLING * limit,
            filters=filter,
            return_properties=list(layout.id_properties),
            include_vector=layout.include_vector,
        )

    def bm25(queries: Any) -> Any:
        return queries.bm25(
            words,
            query_properties=[layout.searched],
            limit=limit,
            filters=filter,
            return_properties=list(layout.id_properties),
            return_metadata=MetadataQuery(score=True),
        )

    own_id = layout.own_id
    first = dense if query.short_dim is None else short
    found = yield ask([first, bm25] if words else [first])
    candidates = found[0].objects
    if query.short_dim is None:
        cosines = [
            (own_id(one.uuid, one.properties), 1 - one.metadata.distance) for one in candidates
        ]
    else:
        vectors = [
            (own_id(one.uuid, one.properties), layout.read_vector(one)) for one in candidates
        ]
        cosines = yield aside(partial(rescored, query.vector, vectors, limit))
    scores = [
        (own_id(one.uuid, one.properties), one.metadata.score)
        for each in found[1:]
        for one in each.objects
    ]
    return {DENSE: cosines, BM25: scores}


def retrieve(
    ask: Ask, layout: Layout, ids: Sequence[Id], encoder: BM25Encoder | None
) -> Flow[dict[Id, Point]]:
    """Look up documents; see `Store.retrieve`.

    Args:
        ask: Runs requests.
        layout: Where the collection has what.
        ids: The documents' ids.
        encoder: The collection's encoder; `None` to read no vectors.
    """
    places = [layout.object_id(id_) for id_ in ids]
    points: dict[Id, Point] = {}
    for start in range(0, len(places), PAGE):
        page = places[start : start + PAGE]

        def look_up(queries: Any, page: Sequence[str] = page) -> Any:
            return queries.fetch_objects_by_ids(
                page, limit=PAGE, **reading(layout, encoder is not None)
            )

        [found] = yield ask([look_up])
        for one in found.objects:
            point = layout.read_point(one, encoder)
            points[point.document.id] = point
    return points


def reading(layout: Layout, vectors: bool) -> dict[str, Any]:
    """Make the arguments of a request that reads whole documents."""
    return {
        "include_vector": layout.include_vector if vectors else False,
        "return_properties": layout.properties,
    }
