"""`Qwen3Ranker`: documents in the order in which they answer a query.

Knows Haystack's component contract; all that is particular to the model is the core's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from haystack import Document, component
from haystack.utils import Secret

from haystack_integrations.common.qwen3_rag.documents import check_documents, check_fields, texts_of
from haystack_integrations.common.qwen3_rag.doors import (
    HF_TOKEN,
    Device,
    DoorComponent,
    check_kind,
    check_token,
    device_names,
)
from haystack_integrations.components.rankers.qwen3_rag.selection import (
    check_threshold,
    selected,
    unique,
)
from qwen3_rag import DEFAULT_INSTRUCTION, Qwen3Reranker, RankedDocument
from qwen3_rag._lazy import LazyDoor
from qwen3_rag.integration import check_count, check_model, check_query

__all__ = ["Qwen3Ranker"]


@component
class Qwen3Ranker(DoorComponent[Qwen3Reranker]):
    """Orders documents by how well they answer a query, with a Qwen3-Reranker model.

    Every document is judged on its own, so scores can be compared across queries.

    Example:
        ```python
        ranker = Qwen3Ranker("Qwen/Qwen3-Reranker-0.6B", top_k=3)
        best = ranker.run("What is the capital of France?", documents)["documents"]
        best[0].score  # the probability that it answers the query
        ```
    """

    _kind = Qwen3Reranker

    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Reranker-0.6B",
        *,
        top_k: int | None = 10,
        score_threshold: float | None = None,
        scale_score: bool = True,
        instruction: str = DEFAULT_INSTRUCTION,
        max_length: int | None = None,
        max_query_tokens: int | None = None,
        max_document_tokens: int | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = False,
        revision: str | None = None,
        device: Device = None,
        dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        attention: Literal["sdpa", "eager"] | None = None,
        batch_tokens: int | None = None,
        compile: bool = False,
        cache_folder: str | None = None,
        local_files_only: bool = False,
        token: Secret | None = HF_TOKEN,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        r"""Keep the settings; nothing is imported, read or downloaded before `warm_up` or `run`.

        Args:
            model: A Hugging Face id, `modelscope:` and an id, `"tiny"`, or a checkpoint's folder.
            top_k: How many documents to return; `None` for all.
            score_threshold: Leave out documents that score less, on the scale of `scale_score`.
            scale_score: Whether the score is the probability of a yes, 0 to 1, or its log-odds,
                which do not saturate.
            instruction: What counts as an answer, one English sentence.
            max_length: Tokens per prompt; only documents are cut to fit. Defaults to 8,192.
            max_query_tokens: Cut longer queries.
            max_document_tokens: Cut longer documents even where there is room.
            meta_fields_to_embed: Metadata to put in front of the content, in this order.
            embedding_separator: What stands between these, a newline by default.
            progress_bar: Whether to show a bar on a terminal.
            revision: Branch, tag or commit; published models default to a pinned commit.
            device: As in `Qwen3TextEmbedder`, and so below.
            dtype: Number format of the weights.
            attention: `"sdpa"` or `"eager"`.
            batch_tokens: Tokens per batch.
            compile: Whether torch compiles parts of the model, ten seconds at the first load.
            cache_folder: Where downloads are kept.
            local_files_only: Whether to do without the network.
            token: Access token for private repositories.
            model_kwargs: Further arguments of transformers' `from_pretrained`.

        Raises:
            InputError: A value out of its range.
        """
        check_count(top_k, "top_k", 1)
        check_threshold(score_threshold)
        self.model = check_model(model)
        self.top_k = top_k
        self.score_threshold = score_threshold
        self.scale_score = scale_score
        self.instruction = instruction
        self.max_length = max_length
        self.max_query_tokens = max_query_tokens
        self.max_document_tokens = max_document_tokens
        self.meta_fields_to_embed = check_fields(meta_fields_to_embed, embedding_separator)
        self.embedding_separator = embedding_separator
        self.progress_bar = progress_bar
        self.revision = revision
        self.device = device_names(device)
        self.dtype = dtype
        self.attention = attention
        self.batch_tokens = batch_tokens
        self.compile = compile
        self.cache_folder = cache_folder
        self.local_files_only = local_files_only
        self.token = check_token(token)
        self.model_kwargs = None if model_kwargs is None else dict(model_kwargs)
        self._door = self._lazy_door()

    @classmethod
    def from_reranker(
        cls,
        reranker: Qwen3Reranker,
        *,
        top_k: int | None = 10,
        score_threshold: float | None = None,
        scale_score: bool = True,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = False,
    ) -> Self:
        """Use a reranker that is open already, such as one from `Qwen3Reranker.from_model`.

        It stays yours to close, and the component cannot be saved. Arguments as above.

        Raises:
            InputTypeError: Not a `Qwen3Reranker`.
        """
        check_kind(reranker, Qwen3Reranker, "reranker")
        made = cls(
            **reranker.own_settings,
            top_k=top_k,
            score_threshold=score_threshold,
            scale_score=scale_score,
            meta_fields_to_embed=meta_fields_to_embed,
            embedding_separator=embedding_separator,
            progress_bar=progress_bar,
        )
        made._door = LazyDoor(reranker)
        return made

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        *,
        top_k: int | None = None,
        score_threshold: float | None = None,
        scale_score: bool | None = None,
        instruction: str | None = None,
    ) -> dict[str, Any]:
        """Order documents.

        Args:
            query: The user's question, without any prompt text around it.
            documents: Candidates; of several with one id the best so far counts. Not modified.
            top_k: How many to return; the component's own when omitted, and so below.
            score_threshold: Leave out documents that score less.
            scale_score: Whether the score is a probability or log-odds.
            instruction: What counts as an answer to this query.

        Returns:
            `documents`: copies with `score`, best first; ties keep the order given.

        Raises:
            InputError: A blank query or instruction, or `top_k` below one.
            InputTypeError: Not a list of documents.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run.
        """
        candidates = self._candidates(query, documents, top_k, score_threshold)
        if not candidates:
            return {"documents": []}
        texts = texts_of(candidates, self.meta_fields_to_embed, self.embedding_separator)
        bar = self.progress_bar
        ranked = self._open().rank(query, texts, instruction=instruction, progress=bar)
        return self._result(candidates, ranked, top_k, score_threshold, scale_score)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        *,
        top_k: int | None = None,
        score_threshold: float | None = None,
        scale_score: bool | None = None,
        instruction: str | None = None,
    ) -> dict[str, Any]:
        """Order documents without blocking the event loop; see `run`."""
        candidates = self._candidates(query, documents, top_k, score_threshold)
        if not candidates:
            return {"documents": []}
        texts = texts_of(candidates, self.meta_fields_to_embed, self.embedding_separator)
        bar = self.progress_bar
        ranked = await self._open().arank(query, texts, instruction=instruction, progress=bar)
        return self._result(candidates, ranked, top_k, score_threshold, scale_score)

    def _candidates(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None,
        score_threshold: float | None,
    ) -> list[Document]:
        """Check a request before any model is loaded for it, and take each id once."""
        check_query(query)
        check_documents(documents, "To rank plain strings, use qwen3_rag.Qwen3Reranker.")
        check_count(top_k, "top_k", 1)
        check_threshold(score_threshold)
        return unique(documents)

    def _result(
        self,
        documents: list[Document],
        ranked: list[RankedDocument],
        top_k: int | None,
        score_threshold: float | None,
        scale_score: bool | None,
    ) -> dict[str, Any]:
        kept = selected(
            documents,
            ranked,
            top_k=self.top_k if top_k is None else top_k,
            score_threshold=self.score_threshold if score_threshold is None else score_threshold,
            scale_score=self.scale_score if scale_score is None else scale_score,
        )
        return {"documents": kept}
