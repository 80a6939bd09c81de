"""The `Searcher` protocol, and the pipeline that embeds, retrieves, fuses and reranks."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from qwen3_rag._embedder import Qwen3Embedder
from qwen3_rag._flow import Call, Flow
from qwen3_rag._grouping import check_grouping, grouped
from qwen3_rag._inputs import check_count, check_instruction, check_query
from qwen3_rag._reranker import Qwen3Reranker
from qwen3_rag._results import FloatArray, Hit, RankScore
from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.fusion import (
    DEFAULT_CANDIDATES,
    DEFAULT_FUSION,
    Fused,
    FusionMethod,
    RankedLists,
    fuse,
)

__all__ = ["BM25", "DENSE", "Fuse", "Retrieve", "SearchPipeline", "Searcher", "further_arguments"]

#: Names of the two retrievers, in `Hit.ranks` and in weights.
DENSE, BM25 = "dense", "bm25"

#: Fuses ranked lists and keeps as many hits as later steps need.
Fuse = Callable[[RankedLists], list[Fused]]

#: Takes the query's vector and a fusion function; its call returns the fused hits, best first.
Retrieve = Callable[[FloatArray, Fuse], Call]


@runtime_checkable
class Searcher(Protocol):
    """Anything that answers a query with hits, best first."""

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
            limit: Number of hits to return.
            offset: Number of top hits to skip.
            filter: The store's own filter object, passed on unchanged.
            instruction: What the query is for; defaults to the searcher's.
        """
        ...

    async def asearch(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        """Search without blocking the event loop; arguments as in `search`."""
        ...


def further_arguments(searcher: Searcher, **given: Any) -> dict[str, Any]:
    """Return the arguments of a search that only some searchers take, without those that are None.

    Args:
        searcher: The searcher.
        **given: Arguments that are not in the `Searcher` protocol, such as `tenant`.

    Raises:
        InputError: The searcher does not take one of them.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    taken = inspect.signature(searcher.search).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return wanted
    for name in wanted:
        if name not in taken:
            raise InputError(
                f"`{name}` was given, and the searches of a {type(searcher).__name__} do not take "
                "it. Leave it out."
            )
    return wanted


@dataclass(frozen=True, kw_only=True)
class SearchPipeline:
    """Embeds a query, has a store retrieve candidates, fuses them and reranks the best.

    Attributes:
        embedder: Embeds the query.
        reranker: Reranks the best fused hits; without one the fused order is final.
        candidates: Number of hits to take from each retriever.
        rerank_depth: Number of fused hits to rerank; the remaining hits keep the fused order.
        fusion: `"relative_score"` or `"rrf"`.
        weights: Weights of the retrievers; 1 if not given.
        k: RRF's rank constant, for `"rrf"` only; larger values reduce the advantage of the top
            ranks.
        logits: Whether a reranked hit's score is the log-odds instead of the probability.
        retrievers: Names of the retrievers, for checking `weights`.
        on_step: Called behind each step of a search with its name, `"embed"`, `"retrieve"` (which
            includes fusion) or `"rerank"`, and the seconds it took.

    Raises:
        InputError: A number is out of range, the fusion is unknown, or a weight names no retriever.
        InputTypeError: An argument is not an embedder or reranker.
    """

    embedder: Qwen3Embedder
    reranker: Qwen3Reranker | None = None
    candidates: int = DEFAULT_CANDIDATES
    rerank_depth: int = 50
    fusion: FusionMethod = DEFAULT_FUSION
    weights: Mapping[str, float] | None = None
    k: float = 60
    logits: bool = False
    retrievers: tuple[str, ...] = (DENSE, BM25)
    on_step: Callable[[str, float], None] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.embedder, Qwen3Embedder):
            raise InputTypeError(_wrong_kind("embedder", "a Qwen3Embedder", self.embedder))
        if not isinstance(self.reranker, Qwen3Reranker | None):
            raise InputTypeError(_wrong_kind("reranker", "a Qwen3Reranker or None", self.reranker))
        check_count(self.candidates, "candidates", 1, required=True)
        check_count(self.rerank_depth, "rerank_depth", 0, required=True)
        fuse(dict.fromkeys(self.retrievers, ()), self.fusion, k=self.k, weights=self.weights)

    def check_request(
        self,
        query: str,
        limit: int,
        offset: int = 0,
        instruction: str | None = None,
        *,
        group_by: str | None = None,
        per_group: int = 1,
    ) -> None:
        """Reject an invalid search before any work is done.

        Raises:
            InputError: The query is blank, a number is out of range, more hits than candidates are
                requested, or `per_group` is given without `group_by`.
        """
        check_query(query)
        check_count(limit, "limit", 1, required=True)
        check_count(offset, "offset", 0, required=True)
        if instruction is not None:
            check_instruction(instruction)
        check_grouping(group_by, per_group)
        if offset + limit > self.candidates:
            raise InputError(
                f"`offset + limit` is {offset + limit}, but each retriever is asked for only "
                f"{self.candidates} candidates. Set `candidates={offset + limit}` or more."
            )

    def search(
        self,
        retrieve: Retrieve,
        query: str,
        *,
        limit: int,
        offset: int = 0,
        instruction: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
    ) -> Flow[list[Hit]]:
        """Search; run the flow with `integration.run` or `integration.run_async`.

        Args:
            retrieve: Searches the store.
            query: The user's question.
            limit: Number of hits to return; of groups, if hits are grouped.
            offset: Number of top hits or groups to skip.
            instruction: What the query is for, passed to both models; defaults to each model's own.
            min_score: Minimum score of a reranked hit. If given, hits that were not reranked are
                left out. It does not apply without a reranker or with a `rerank_depth` of 0.
            group_by: Payload field whose value is a hit's group; `"a.b"` is the field `"b"` in
                `"a"`. A hit without it is a group of its own. Hits are grouped last, in the order
                that they have without groups, and from all candidates.
            per_group: Number of hits to return of each group.
        """
        self.check_request(
            query, limit, offset, instruction, group_by=group_by, per_group=per_group
        )
        step = self._steps()
        vectors = yield from self.embedder._embed_queries([query], instruction, False, False)
        [vector] = cast(FloatArray, vectors)
        step("embed")
        reranker = self.reranker if self.rerank_depth else None
        depth: int | None = max(offset + limit, 0 if reranker is None else self.rerank_depth)
        if group_by is not None:
            depth = None  # the next group may be far down
        hits: list[Hit] = yield retrieve(vector, partial(self.fuse, depth=depth))
        step("retrieve")
        if reranker is not None and hits:
            best, rest = hits[: self.rerank_depth], hits[self.rerank_depth :]
            reranked = yield from self._rerank(reranker, query, best, instruction)
            step("rerank")
            if min_score is not None:
                reranked, rest = [hit for hit in reranked if hit.score >= min_score], []
            hits = reranked + rest
        if group_by is not None:
            return grouped(hits, group_by, per_group, offset=offset, limit=limit)
        return hits[offset : offset + limit]

    def fuse(self, lists: RankedLists, depth: int | None = None) -> list[Fused]:
        """Fuse what the retrievers found.

        Args:
            lists: The retrievers' ranked lists.
            depth: Number of hits to keep; all when omitted.
        """
        weights = {name: weight for name, weight in (self.weights or {}).items() if name in lists}
        return fuse(lists, self.fusion, k=self.k, weights=weights, limit=depth)

    def _steps(self) -> Callable[[str], None]:
        """Return a function to call behind each step."""
        begun = time.perf_counter()

        def step(name: str) -> None:
            nonlocal begun
            ended = time.perf_counter()
            if self.on_step is not None:
                self.on_step(name, ended - begun)
            begun = ended

        return step

    def _rerank(
        self, reranker: Qwen3Reranker, query: str, hits: Sequence[Hit], instruction: str | None
    ) -> Flow[list[Hit]]:
        texts = [hit.text for hit in hits]
        ranked = yield from reranker._rank(query, texts, None, instruction, False)
        reranked = []
        for rank, document in enumerate(ranked, 1):
            hit = hits[document.index]
            score = document.logit if self.logits else document.score
            ranks = {**hit.ranks, "rerank": RankScore(rank, score)}
            reranked.append(replace(hit, score=score, ranks=ranks))
        return reranked


def _wrong_kind(name: str, wanted: str, value: object) -> str:
    return f"`{name}` must be {wanted}, got {value!r} ({type(value).__name__})."
