"""Searches and look-ups in a Weaviate collection, for blocking and for async clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from weaviate.classes.query import MetadataQuery

from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Call, Flow
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point
from qwen3_rag_hybrid.stores.base import Query
from qwen3_rag_hybrid.stores.weaviate.layout import (
    ID,
    PROPERTIES,
    TERMS,
    object_id,
    own_id,
    read_point,
)

__all__ = ["PAGE", "Ask", "reading", "retrieve", "search"]

PAGE = 256

#: Runs requests, each given the client's `collection.query`, and gives their answers.
Ask: TypeAlias = Callable[[Sequence[Callable[[Any], Any]]], Call]


def search(ask: Ask, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
    """Search by vector and by terms; see `Store.search`."""

    def dense(queries: Any) -> Any:
        return queries.near_vector(
            query.vector.tolist(),
            target_vector=DENSE,
            limit=limit,
            filters=filter,
            return_properties=[ID],
            return_metadata=MetadataQuery(distance=True),
        )

    def bm25(queries: Any) -> Any:
        return queries.bm25(
            " ".join(query.terms),
            query_properties=[TERMS],
            limit=limit,
            filters=filter,
            return_properties=[ID],
            return_metadata=MetadataQuery(score=True),
        )

    found = yield ask([dense, bm25] if query.terms else [dense])
    cosines = [(_id(one), 1 - one.metadata.distance) for one in found[0].objects]
    scores = [(_id(one), one.metadata.score) for each in found[1:] for one in each.objects]
    return {DENSE: cosines, BM25: scores}


def retrieve(ask: Ask, ids: Sequence[Id], encoder: BM25Encoder | None) -> Flow[dict[Id, Point]]:
    """Look up documents; see `Store.retrieve`.

    Args:
        ask: Runs requests.
        ids: The documents' ids.
        encoder: The collection's encoder; `None` to read no vectors.
    """
    places = [object_id(id_) for id_ in ids]
    points: dict[Id, Point] = {}
    for start in range(0, len(places), PAGE):
        page = places[start : start + PAGE]

        def look_up(queries: Any, page: Sequence[str] = page) -> Any:
            return queries.fetch_objects_by_ids(page, limit=PAGE, **reading(encoder is not None))

        [found] = yield ask([look_up])
        for one in found.objects:
            point = read_point(one, encoder)
            points[point.document.id] = point
    return points


def reading(vectors: bool) -> dict[str, Any]:
    """Make the arguments of a request that reads whole documents."""
    return {
        "include_vector": [DENSE] if vectors else False,
        "return_properties": [name for name in PROPERTIES if name != TERMS],
    }


def _id(found: Any) -> Id:
    return own_id(found.uuid, found.properties)
