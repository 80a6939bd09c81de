"""Two retrievers: one reranks the results of another retriever, the other uses a `Searcher`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from pydantic import ConfigDict, model_validator

from langchain_qwen3_rag.documents import RANKS_KEY, SCORE_KEY, ScoredDocument
from langchain_qwen3_rag.rerank import Qwen3Rerank
from langchain_qwen3_rag.settings import CheckedSettings
from qwen3_rag import Hit, InputTypeError, Searcher, StoreError
from qwen3_rag.integration import check_count, check_instruction
from qwen3_rag.search import further_arguments

__all__ = ["Qwen3HybridRetriever", "Qwen3RerankRetriever"]


class Qwen3RerankRetriever(CheckedSettings, BaseRetriever):
    """Reranks the results of another retriever. Does not need langchain-classic.

    The other retriever's settings determine how many candidates are reranked; `k` is the number
    returned.

    Example:
        ```python
        retriever = Qwen3RerankRetriever(
            base_retriever=store.as_retriever(search_kwargs={"k": 50}),
            reranker=Qwen3Rerank(model="Qwen/Qwen3-Reranker-0.6B"),
            k=4,
        )
        retriever.invoke("What is the capital of France?")
        ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    base_retriever: RetrieverLike
    """The retriever of the candidates: anything whose `invoke` takes a query and returns
    documents."""

    reranker: Qwen3Rerank
    """The reranker that orders the candidates."""

    k: int | None = None
    """Number of documents to return; the reranker's `top_n` when `None`."""

    instruction: str | None = None
    """What counts as an answer; the reranker's instruction when `None`. The other retriever uses
    the instruction of its own embeddings."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return true: `dumps` and `loads` work if they do for the other retriever."""
        return True

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        instruction: str | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        chosen = _chosen(self, k=k, instruction=instruction)
        candidates = self.base_retriever.invoke(
            query, config={"callbacks": run_manager.get_child()}, **kwargs
        )
        return self.reranker.compress_documents(
            candidates, query, top_n=chosen["k"], instruction=chosen["instruction"]
        )

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        instruction: str | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        chosen = _chosen(self, k=k, instruction=instruction)
        candidates = await self.base_retriever.ainvoke(
            query, config={"callbacks": run_manager.get_child()}, **kwargs
        )
        return await self.reranker.acompress_documents(
            candidates, query, top_n=chosen["k"], instruction=chosen["instruction"]
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _chosen(self)
        return self


class Qwen3HybridRetriever(CheckedSettings, BaseRetriever):
    """Retrieves documents with a `Searcher`, such as `qwen3_rag_hybrid.HybridSearcher`.

    Example:
        ```python
        retriever = Qwen3HybridRetriever(searcher=searcher, k=4)
        [best, *_] = retriever.invoke("What is the capital of France?")
        best.metadata["relevance_score"], best.metadata["search_ranks"]["dense"]["rank"]
        ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    searcher: Searcher
    """The searcher, which retrieves, fuses and reranks. Closing it is up to you."""

    k: int = 10
    """Number of documents to return."""

    filter: Any = None
    """The store's own filter object, passed on unchanged."""

    instruction: str | None = None
    """What queries are for; the searcher's instruction when `None`."""

    ids: list[str | int] | None = None
    """Ids of the documents to search in; all when `None`."""

    tenant: str | None = None
    """The tenant whose documents are searched, in a collection with tenants."""

    min_score: float | None = None
    """Minimum score of a document, as the searcher's reranker gives it."""

    group_by: str | None = None
    """Metadata field by which documents are grouped; `k` is then the number of groups."""

    per_group: int | None = None
    """Number of documents to return of each group; 1 when `None`."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **given: Any
    ) -> list[Document]:
        return [_document(hit) for hit in self.searcher.search(query, **self._request(given))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **given: Any
    ) -> list[Document]:
        request = self._request(given)
        return [_document(hit) for hit in await self.searcher.asearch(query, **request)]

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Raise an error: the searcher has an open store.

        Raises:
            StoreError: Always.
        """
        raise StoreError(
            f"A Qwen3HybridRetriever holds an open searcher, {self.searcher!r}, and cannot be "
            "serialised. Keep the store's address and the models' names, and make it where it is "
            "needed."
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._request({})
        return self

    def _request(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Make the searcher's arguments of a call's and the fields."""
        for name in given:
            if name not in _OF_CALLS:
                raise InputTypeError(
                    f"`invoke` of a Qwen3HybridRetriever takes no {name!r}, only "
                    f"{', '.join(_OF_CALLS)}."
                )
        chosen = _chosen(self, **given)
        further = {
            name: getattr(self, name) if given.get(name) is None else given[name]
            for name in _FURTHER
        }
        return {
            "limit": chosen["k"],
            "filter": chosen["filter"],
            "instruction": chosen["instruction"],
            **further_arguments(self.searcher, **further),
        }


# Fields that only some searchers take.
_FURTHER = ("ids", "tenant", "min_score", "group_by", "per_group")
_OF_CALLS = ("k", "filter", "instruction", *_FURTHER)


def _chosen(retriever: BaseRetriever, **given: Any) -> dict[str, Any]:
    """Combine a call's arguments with the fields, and check them."""
    chosen: dict[str, Any] = {
        name: getattr(retriever, name) if given.get(name) is None else given[name]
        for name in ("k", "filter", "instruction")
        if name in type(retriever).model_fields
    }
    check_count(chosen["k"], "k", 1)
    if chosen["instruction"] is not None:
        check_instruction(chosen["instruction"])
    return chosen


def _document(hit: Hit) -> ScoredDocument:
    ranks = {name: {"rank": one.rank, "score": one.score} for name, one in hit.ranks.items()}
    return ScoredDocument(
        id=str(hit.id),
        page_content=hit.text,
        metadata={**hit.payload, SCORE_KEY: hit.score, RANKS_KEY: ranks},
    )
