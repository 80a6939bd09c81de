"""A search of a document store: embed, ask both legs, fuse, rerank.

Knows the components it puts together, and not how they are saved or who asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haystack import Document

from haystack_integrations.common.qwen3_rag.doors import check_kind
from haystack_integrations.components.embedders.qwen3_rag import Qwen3TextEmbedder
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag.legs import DENSE, LEXICAL, Legs
from haystack_integrations.components.retrievers.qwen3_rag.results import (
    fused_documents,
    with_rerank,
)
from qwen3_rag import InputError
from qwen3_rag.fusion import FusionMethod, fuse
from qwen3_rag.integration import check_count

__all__ = ["StoreSearch"]


@dataclass(frozen=True, kw_only=True)
class StoreSearch:
    """One store and the models that search it; the attributes are the retriever's settings."""

    legs: Legs
    text_embedder: Qwen3TextEmbedder
    ranker: Qwen3Ranker | None
    candidates: int
    rerank_depth: int
    fusion: FusionMethod
    weights: Mapping[str, float] | None
    k: float

    def __post_init__(self) -> None:
        check_kind(self.text_embedder, Qwen3TextEmbedder, "text_embedder")
        if self.ranker is not None:
            check_kind(self.ranker, Qwen3Ranker, "ranker")
        check_count(self.candidates, "candidates", 1)
        check_count(self.rerank_depth, "rerank_depth", 0)
        fuse({DENSE: [], LEXICAL: []}, self.fusion, k=self.k, weights=self.weights)

    def check_top_k(self, top_k: int) -> None:
        """Make sure the legs are asked for enough."""
        if top_k > self.candidates:
            raise InputError(
                f"`top_k` is {top_k}, and each leg is asked for {self.candidates} candidates, "
                "which is as far as an order can be trusted. Make the retriever with "
                f"`candidates={top_k}` or more."
            )

    def run(self, query: str, top_k: int, filters: Any, instruction: str | None) -> list[Document]:
        """Search; arguments as in the retriever's `run`."""
        embedding = self.text_embedder.run(query, instruction)["embedding"]
        requests = self.legs.requests(query, embedding, filters, self.candidates)
        fused = self._fused({leg: ask.run(**given)["documents"] for leg, ask, given in requests})
        if self.ranker is None or not self.rerank_depth:
            return fused[:top_k]
        depth = self.rerank_depth
        ranked = self.ranker.run(query, fused[:depth], top_k=depth, instruction=instruction)
        return self._reranked(ranked["documents"], fused)[:top_k]

    async def run_async(
        self, query: str, top_k: int, filters: Any, instruction: str | None
    ) -> list[Document]:
        """Search without blocking the event loop."""
        embedding = (await self.text_embedder.run_async(query, instruction))["embedding"]
        requests = self.legs.requests(query, embedding, filters, self.candidates)
        found = {}
        # One after the other: the first question may be what makes a client connect.
        for leg, ask, given in requests:
            found[leg] = (await ask.run_async(**given))["documents"]
        fused = self._fused(found)
        if self.ranker is None or not self.rerank_depth:
            return fused[:top_k]
        depth = self.rerank_depth
        ranked = await self.ranker.run_async(
            query, fused[:depth], top_k=depth, instruction=instruction
        )
        return self._reranked(ranked["documents"], fused)[:top_k]

    def _fused(self, legs: Mapping[str, list[Document]]) -> list[Document]:
        weights = {leg: weight for leg, weight in (self.weights or {}).items() if leg in legs}
        return fused_documents(legs, self.fusion, k=self.k, weights=weights)

    def _reranked(self, ranked: list[Document], fused: list[Document]) -> list[Document]:
        assert self.ranker is not None
        judged = with_rerank(ranked)
        # A document that nobody judged has not reached the threshold.
        all_judged = self.ranker.score_threshold is not None
        return judged if all_judged else judged + fused[self.rerank_depth :]
