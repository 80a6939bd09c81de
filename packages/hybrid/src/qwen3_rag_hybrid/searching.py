"""`search`: one search of a collection, from the request to the hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from qwen3_rag import Hit
from qwen3_rag.errors import InputError
from qwen3_rag.integration import Call, FloatArray, Flow, check_min_score, run, run_async
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import Fuse, SearchPipeline
from qwen3_rag_hybrid.collection import Collection
from qwen3_rag_hybrid.documents import Id
from qwen3_rag_hybrid.retrieval import find_candidates, find_hits
from qwen3_rag_hybrid.stores.base import NO_TERMS, Query, Store
from qwen3_rag_hybrid.stores.fields import check_declared
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_use
from qwen3_rag_hybrid.worker import StoreCalls

__all__ = ["Request", "search"]


@dataclass(frozen=True)
class Request:
    """The arguments of `HybridSearcher.search`."""

    query: str
    limit: int
    offset: int
    filter: Any
    ids: Sequence[Id] | None
    instruction: str | None
    min_score: float | None
    group_by: str | None
    per_group: int

    def check_fields(self, store: Store, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter, and payload fields that no document has."""
        if self.filter is not None:
            store.check_filter(self.filter, fields)
        if self.group_by is not None:
            check_declared([self.group_by], fields, store.keys, by="`group_by`")


def search(
    pipeline: SearchPipeline, collection: Collection, calls: StoreCalls, request: Request
) -> Flow[list[Hit]]:
    """Search; see `HybridSearcher.search`.

    Args:
        pipeline: Embeds, fuses and reranks.
        collection: The collection.
        calls: Runs operations on its store.
        request: What to search for.
    """
    pipeline.check_request(
        request.query,
        request.limit,
        request.offset,
        request.instruction,
        group_by=request.group_by,
        per_group=request.per_group,
    )
    _check_min_score(pipeline, request.min_score)
    record = yield from collection.ready()
    check_use(calls.store.name, record.tenants, calls.store.tenant)
    request.check_fields(calls.store, record.fields)
    if request.ids is not None and not request.ids:
        return []
    filter = calls.store.with_ids(request.filter, request.ids)

    def find(vector: FloatArray, fuse: Fuse) -> Flow[list[Hit]]:
        query = _query(request.query, vector, collection.encoder, record, calls.store.term_forms)
        lists = yield from find_candidates(calls, query, pipeline.candidates, filter)
        return (yield from find_hits(calls, fuse(lists)))

    def retrieve(vector: FloatArray, fuse: Fuse) -> Call:
        finding = partial(find, vector, fuse)
        return Call(lambda: run(finding()), lambda: run_async(finding()))

    return (
        yield from pipeline.search(
            retrieve,
            request.query,
            limit=request.limit,
            offset=request.offset,
            instruction=request.instruction,
            min_score=request.min_score,
            group_by=request.group_by,
            per_group=request.per_group,
        )
    )


def _query(
    text: str,
    vector: FloatArray,
    encoder: BM25Encoder,
    record: CollectionRecord,
    forms: Sequence[str],
) -> Query:
    """Make the store's query, with what the collection can be searched by."""
    if record.has_terms:
        sparse = encoder.encode_query(text) if "sparse" in forms else NO_TERMS
        terms = encoder.query_terms(text) if "terms" in forms else ()
        return Query(vector, sparse, terms, short_dim=record.short_dim)
    return Query(vector, NO_TERMS, (), text if record.text_field else "", record.short_dim)


def _check_min_score(pipeline: SearchPipeline, min_score: float | None) -> None:
    check_min_score(min_score)
    if min_score is not None and (pipeline.reranker is None or not pipeline.rerank_depth):
        raise InputError(
            f"`min_score` is {min_score!r}, but nothing is reranked, and fused scores of two "
            "queries cannot be compared. Make the searcher with a `reranker` and a "
            "`rerank_depth`, or leave `min_score` out."
        )
