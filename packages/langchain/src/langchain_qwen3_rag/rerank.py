"""`Qwen3Rerank`: the core's reranker as LangChain's document compressor and cross encoder.

Knows how a score gets onto a document; everything about the model is the core's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from langchain_core.callbacks import Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import field_validator

from langchain_qwen3_rag.settings import DoorSettings
from qwen3_rag import Qwen3Reranker, RankedDocument, Scores
from qwen3_rag.integration import check_count

__all__ = ["SCORE_KEY", "Qwen3Rerank"]

#: Where LangChain's rerankers put a document's score.
SCORE_KEY = "relevance_score"


class Qwen3Rerank(DoorSettings, BaseDocumentCompressor, BaseCrossEncoder):
    """Orders documents by how well they answer a query, with a Qwen3-Reranker model.

    Light to make: nothing is imported, read or downloaded before the first document. Safe to share
    between threads and event loops.

    Example:
        ```python
        rerank = Qwen3Rerank(model="Qwen/Qwen3-Reranker-0.6B", top_n=3)
        best = rerank.compress_documents(documents, "What is the capital of France?")
        best[0].metadata["relevance_score"]
        ```

    Raises:
        InputError: A value out of its range. A wrong type or an unknown field is pydantic's
            `ValidationError`, which is a `ValueError` as well.
    """

    _kind: ClassVar[type[Door]] = Qwen3Reranker

    model: str = "Qwen/Qwen3-Reranker-0.6B"
    """A Hugging Face id, `modelscope:` and an id, `"tiny"`, or the folder of a checkpoint."""

    top_n: int | None = None
    """How many documents to return, all when `None`. LangChain's name for the core's `top_k`."""

    score_type: Literal["probability", "logit"] = "probability"
    """The probability of "yes", 0 to 1, or its log-odds, which do not saturate. The order is the
    same."""

    max_query_tokens: int | None = None
    """Cut longer queries. Without it a query that leaves no room for a document is an error."""

    max_document_tokens: int | None = None
    """Cut longer documents even where there is room."""

    @classmethod
    def from_reranker(
        cls,
        reranker: Qwen3Reranker,
        *,
        top_n: int | None = None,
        score_type: Literal["probability", "logit"] = "probability",
    ) -> Self:
        """Take over a reranker's settings, and its model where settings cannot name it.

        Such a model is one handed over with `Qwen3Reranker.from_model`, or a backend of your own.
        It stays yours to close, and the result cannot be serialised or pickled.

        Args:
            reranker: The core's door.
            top_n: How many documents to return, all when omitted.
            score_type: `"probability"` or `"logit"`.
        """
        return cls._around(reranker, top_n=top_n, score_type=score_type)

    @property
    def reranker(self) -> Qwen3Reranker:
        """The core's door, with `warm_up`, `rank_many`, token counts and cuts.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        door: Qwen3Reranker = self._open()
        return door

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
            documents: Candidates, in any order. They are not changed.
            query: The user's question, without any prompt text.
            callbacks: LangChain's; reranking has nothing to tell them.
            top_n: How many to return; the field's when omitted.
            instruction: What counts as an answer; the field's when omitted.

        Returns:
            Copies, best first, ties in the order given. Ids and metadata are kept, and
            `metadata["relevance_score"]` is a float, of the field `score_type`.

        Raises:
            InputError: A blank query, a lone surrogate, `top_n` below one, or a query too long to
                leave room for a document.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        if not documents:
            return []
        arguments = self._arguments(documents, query, top_n, instruction)
        return self._ranked(documents, self.reranker.rank(**arguments))

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
        arguments = self._arguments(documents, query, top_n, instruction)
        return self._ranked(documents, await self.reranker.arank(**arguments))

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Judge pairs without ordering them, as LangChain's cross encoders do.

        Args:
            text_pairs: Queries with one document each.

        Returns:
            One score per pair, in the order given, of the field `score_type`.

        Raises:
            InputError: As `compress_documents`, or an item that is not a pair.
            MissingExtraError: As `compress_documents`.
            ModelError: As `compress_documents`.
            BackendError: As `compress_documents`.
        """
        if not text_pairs:
            return []
        return self._scores(
            self.reranker.score(text_pairs, instruction=self.instruction, details=True)
        )

    async def ascore(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Judge pairs without blocking the event loop; see `score`."""
        if not text_pairs:
            return []
        return self._scores(
            await self.reranker.ascore(text_pairs, instruction=self.instruction, details=True)
        )

    def _arguments(
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
        return [_scored(documents[item.index], self._score_of(item)) for item in ranked]

    def _score_of(self, item: RankedDocument) -> float:
        return item.logit if self.score_type == "logit" else item.score

    def _scores(self, scores: Scores) -> list[float]:
        return list(scores.logits if self.score_type == "logit" else scores.scores)

    @field_validator("top_n")
    @classmethod
    def _check_top_n(cls, top_n: int | None) -> int | None:
        check_count(top_n, "top_n", 1)
        return top_n


def _scored(document: Document, score: float) -> Document:
    metadata = {**document.metadata, SCORE_KEY: score}
    return document.model_copy(update={"metadata": metadata})
