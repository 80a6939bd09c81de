"""Hybrid search over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from qwen3_rag import Hit
from qwen3_rag.errors import Qwen3RagError
from qwen3_rag.search import Searcher, further_arguments
from qwen3_rag_hybrid import HybridSearcher
from qwen3_rag_server.bodies import Body
from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation
from qwen3_rag_server.shapes import INTEGER, NUMBER, STRING, items, record

__all__ = ["HIT", "OPERATIONS", "SECONDS", "Found", "SearchOptions", "found", "hit_record"]

MOST = 1_000  # candidates, which all are held in memory

#: Values of a field; stores have whole numbers of 64 bits.
Values = Annotated[
    list[str | Annotated[int, Field(ge=-(2**63), lt=2**63)] | bool], Field(min_length=1)
]


class SearchOptions(Body):
    """The fields that say what is searched, and how."""

    index: str | None = Field(None, description="The index; not needed if there is one alone.")
    filter: dict[str, Values] | None = Field(
        None, description="Payload fields, each with the values of which a hit must have one."
    )
    ids: list[str | int] | None = None
    tenant: str | None = None
    instruction: str | None = None
    min_score: float | None = None
    group_by: str | None = None
    per_group: int | None = Field(None, ge=1)
    candidates: int | None = Field(None, ge=1, le=MOST, description="Hits of each retriever.")
    rerank_depth: int | None = Field(
        None, ge=0, le=MOST, description="Fused hits to rerank, 0 for none."
    )
    weights: dict[str, float] | None = Field(
        None, description='Weights of the retrievers "dense" and "bm25".'
    )
    fusion: Literal["relative_score", "rrf"] | None = None


class SearchBody(SearchOptions):
    """The fields of `/v1/search`."""

    query: str
    limit: int = Field(10, ge=1)
    offset: int = Field(0, ge=0)


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        index: The name of the index.
        hits: The hits, best first.
        seconds: What each step took.
    """

    index: str
    hits: list[Hit]
    seconds: dict[str, float]


async def search(served: Served, body: SearchBody) -> dict[str, Any]:
    """Answer `/v1/search`."""
    made = await found(served, body, body.query, limit=body.limit, offset=body.offset)
    hits = [hit_record(hit) for hit in made.hits]
    return {"index": made.index, "seconds": made.seconds, "hits": hits}


async def found(
    served: Served, body: SearchOptions, query: str, *, limit: int, offset: int = 0
) -> Found:
    """Search as a request says.

    Raises:
        Refusal: There is no such index.
        Qwen3RagError: See `Searcher.search`.
    """
    name, searcher = _searcher(served, body.index)
    further = further_arguments(
        searcher,
        ids=body.ids,
        tenant=body.tenant,
        min_score=body.min_score,
        group_by=body.group_by,
        per_group=body.per_group,
    )
    seconds: dict[str, float] = {}
    with _unplaced(searcher, name):
        await _refresh(searcher)
        hits = await _tuned(searcher, body, seconds).asearch(
            query,
            limit=limit,
            offset=offset,
            filter=_filter(searcher, body.filter),
            instruction=body.instruction,
            **further,
        )
    return Found(name, hits, seconds)


@contextmanager
def _unplaced(searcher: Searcher, name: str) -> Iterator[None]:
    """Leave out of errors where the index is on this machine, which is not clients' concern."""
    try:
        yield
    except Qwen3RagError as error:
        if path := getattr(getattr(searcher, "store", None), "path", None):
            error.args = (str(error).replace(str(path), name),)
        raise


def hit_record(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON values."""
    return {
        "id": hit.id,
        "score": hit.score,
        "text": hit.text,
        "payload": dict(hit.payload),
        "ranks": {name: {"rank": one.rank, "score": one.score} for name, one in hit.ranks.items()},
    }


def _searcher(served: Served, name: str | None) -> tuple[str, Searcher]:
    known = served.searchers
    if not known:
        raise Refusal(404, "This server has no index. Start it with --index.")
    if name is None and len(known) == 1:
        [name] = known
    if name is None or name not in known:
        told = "is missing" if name is None else f"is {name!r:.80}"
        raise Refusal(
            400 if name is None else 404,
            f"`index` {told}. This server has {', '.join(map(repr, known))}.",
            "index",
        )
    return name, known[name]


def _tuned(searcher: Searcher, body: SearchOptions, seconds: dict[str, float]) -> Searcher:
    """Return a searcher with the options of a request, which notes the seconds of each step."""
    names = ("candidates", "rerank_depth", "weights", "fusion")
    given = {name: getattr(body, name) for name in names}
    options = {name: value for name, value in given.items() if value is not None}
    if isinstance(searcher, HybridSearcher):
        return searcher.tuned(**options, on_step=seconds.__setitem__)
    if options:
        first = next(iter(options))
        raise Refusal(400, f"`{first}` is for indexes of this project's stores.", first)
    return searcher


async def _refresh(searcher: Searcher) -> None:
    """Open what another process has published since, where the store is a folder."""
    refresh = getattr(getattr(searcher, "store", None), "refresh", None)
    if refresh is not None:
        await asyncio.to_thread(refresh)


def _filter(searcher: Searcher, values: dict[str, list[str | int | bool]] | None) -> Any:
    if not values:
        return None
    if not isinstance(searcher, HybridSearcher):
        raise Refusal(400, "`filter` is for indexes of this project's stores.", "filter")
    try:
        return searcher.store.matching(values)
    except (OverflowError, TypeError, ValueError) as error:  # of the store's client
        raise Refusal(400, f"`filter` cannot be used with this index: {error}", "filter") from error


_RANK = record(rank=INTEGER, score=NUMBER)
#: The shape of `hit_record`'s hits, with a number where an answer cites them.
HIT = record(
    {"number": INTEGER},
    id={"type": ["string", "integer"]},
    score=NUMBER,
    text=STRING,
    payload={"type": "object"},
    ranks={"type": "object", "additionalProperties": _RANK},
)
SECONDS = {"type": "object", "additionalProperties": NUMBER}
_SHAPE = record(
    index=STRING,
    seconds=SECONDS,
    hits=items(HIT),
)

OPERATIONS = (
    Operation("/v1/search", "Search an index", SearchBody, lambda body: 1, search, shape=_SHAPE),
)
