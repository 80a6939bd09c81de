"""`Qwen3Rerank`: a Qwen3-Reranker model as LangChain's document compressor and cross encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack

from langchain_core.callbacks import Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import field_validator

from langchain_qwen3_rag.documents import SCORE_KEY, ScoredDocument
from langchain_qwen3_rag.settings import ModelOptions, ModelSettings
from qwen3_rag import Qwen3Reranker, RankedDocument, Scores
from qwen3_rag.integration import ModelBase, arguments_of, check_count, check_min_score

__all__ = ["Qwen3Rerank"]


class Qwen3Rerank(ModelSettings, BaseDocumentCompressor, BaseCrossEncoder):
    """Orders documents by how well they answer a query, with a Qwen3-Reranker model.

    Cheap to create: nothing is imported, read or downloaded before the first document. Threads and
    event loops can share an object.

    Example:
        ```python
        rerank = Qwen3Rerank(model="Qwen/Qwen3-Reranker-0.6B", top_n=3)
        best = rerank.compress_documents(documents, "What is the capital of France?")
        best[0].metadata["relevance_score"]
        ```

    Raises:
        InputError: A value is out of range, or options of the local engine are combined with
            `backend`. A wrong type or an unknown field raises pydantic's `ValidationError`, which
            is also a `ValueError`.
    """

    _kind: ClassVar[type[ModelBase]] = Qwen3Reranker

    model: str = "Qwen/Qwen3-Reranker-0.6B"
    """A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder."""

    top_n: int | None = None
    """Number of documents to return; all when `None`. The core calls it `top_k`."""

    min_score: float | None = None
    """Leave out documents with a lower score, of the kind that `score_type` selects."""

    score_type: Literal["probability", "logit"] = "probability"
    """Whether the score is the probability of "yes", 0 to 1, or its log-odds, which do not
    saturate. The order is the same."""

    max_query_tokens: int | None = None
    """Cut longer queries. Without this limit, a query that leaves no room for a document is an
    error."""

    max_document_tokens: int | None = None
    """Cut longer documents even if there is room."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: str | os.PathLike[str] = ...,
            top_n: int | None = ...,
            min_score: float | None = ...,
            score_type: Literal["probability", "logit"] = ...,
            instruction: str | None = ...,
            max_length: int | None = ...,
            max_query_tokens: int | None = ...,
            max_document_tokens: int | None = ...,
            **options: Unpack[ModelOptions],
        ) -> None: ...

    @classmethod
    def from_reranker(
        cls,
        reranker: Qwen3Reranker,
        *,
        top_n: int | None = None,
        min_score: float | None = None,
        score_type: Literal["probability", "logit"] = "probability",
    ) -> Self:
        """Make a compressor with a reranker's arguments. The two share the weights.

        A compressor made from `Qwen3Reranker.from_model` cannot be serialised or pickled.

        Args:
            reranker: Any reranker that has not been closed.
            top_n: Number of documents to return; all when omitted.
            min_score: Minimum score of a document to return.
            score_type: `"probability"` or `"logit"`.

        Raises:
            BackendError: The reranker was closed.
        """
        return cls(
            **arguments_of(reranker), top_n=top_n, min_score=min_score, score_type=score_type
        )

    @property
    def reranker(self) -> Qwen3Reranker:
        """The core's reranker, which offers `warm_up`, `rank_many` and token counts.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        reranker: Qwen3Reranker = self._lazy.get(self._make)
        return reranker

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
        *,
        top_n: int | None = None,
        instruction: str | None = None,
    ) -> list[Document]:
        """Order documents by how well each one answers the query.

        Args:
            documents: Candidates, in any order. Not modified.
            query: The user's question, without any prompt text.
            callbacks: LangChain's callbacks; not used.
            top_n: Number of documents to return; defaults to the field.
            instruction: What counts as an answer; defaults to the field.

        Returns:
            Copies, best first; ties keep their input order. Ids and metadata are kept, and
            `metadata["relevance_score"]` is the score as a float, of the kind that `score_type`
            selects. Comparisons ignore the score; see `ScoredDocument`.

        Raises:
            InputError: The query is blank or too long to leave room for a document, a text has a
                lone surrogate, or `top_n` is below one.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        if not documents:
            return []
        request = self._request(documents, query, top_n, instruction)
        return self._ranked(documents, self.reranker.rank(**request))

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
        *,
        top_n: int | None = None,
        instruction: str | None = None,
    ) -> list[Document]:
        """Order documents without blocking the event loop; see `compress_documents`."""
        if not documents:
            return []
        request = self._request(documents, query, top_n, instruction)
        return self._ranked(documents, await self.reranker.arank(**request))

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Score pairs without ordering them, like LangChain's cross encoders.

        Args:
            text_pairs: Pairs of query and document.

        Returns:
            One score per pair, in input order, of the kind that `score_type` selects.

        Raises:
            InputError: As in `compress_documents`, or an item is not a pair.
            MissingExtraError: As in `compress_documents`.
            ModelError: As in `compress_documents`.
            BackendError: As in `compress_documents`.
        """
        if not text_pairs:
            return []
        return self._scores(
            self.reranker.score(text_pairs, instruction=self.instruction, details=True)
        )

    async def ascore(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Score pairs without blocking the event loop; see `score`."""
        if not text_pairs:
            return []
        return self._scores(
            await self.reranker.ascore(text_pairs, instruction=self.instruction, details=True)
        )

    def _request(
        self, documents: Sequence[Document], query: str, top_n: int | None, instruction: str | None
    ) -> dict[str, Any]:
        check_count(top_n, "top_n", 1)
        return {
            "query": query,
            "documents": [document.page_content for document in documents],
            "top_k": self.top_n if top_n is None else top_n,
            "instruction": self.instruction if instruction is None else instruction,
        }

    def _ranked(
        self, documents: Sequence[Document], ranked: list[RankedDocument]
    ) -> list[Document]:
        logits = self.score_type == "logit"
        scores = [(item.index, item.logit if logits else item.score) for item in ranked]
        return [
            _scored(documents[index], score)
            for index, score in scores
            if self.min_score is None or score >= self.min_score
        ]

    def _scores(self, scores: Scores) -> list[float]:
        return list(scores.logits if self.score_type == "logit" else scores.scores)

    def _own_arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "instruction": self.instruction,
            "max_length": self.max_length,
            "max_query_tokens": self.max_query_tokens,
            "max_document_tokens": self.max_document_tokens,
        }

    @field_validator("top_n")
    @classmethod
    def _check_top_n(cls, top_n: int | None) -> int | None:
        check_count(top_n, "top_n", 1)
        return top_n

    @field_validator("min_score")
    @classmethod
    def _check_min_score(cls, min_score: float | None) -> float | None:
        check_min_score(min_score)
        return min_score


def _scored(document: Document, score: float) -> Document:
    metadata = {**document.metadata, SCORE_KEY: score}
    if type(document) is Document:
        return ScoredDocument(id=document.id, page_content=document.page_content, metadata=metadata)
    return document.model_copy(update={"metadata": metadata})  # a subclass keeps its `__eq__`
