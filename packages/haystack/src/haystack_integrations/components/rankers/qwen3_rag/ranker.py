"""`Qwen3Ranker`: orders documents by how well they answer a query."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self, Unpack

from haystack import Document, component
from haystack.utils import Secret

from haystack_integrations.common.qwen3_rag.components import (
    API_KEY,
    HF_TOKEN,
    Device,
    ModelComponent,
    arguments_from,
    check_kind,
)
from haystack_integrations.common.qwen3_rag.documents import check_documents, check_fields, texts_of
from haystack_integrations.components.rankers.qwen3_rag.selection import (
    selected,
    unique,
)
from qwen3_rag import Qwen3Reranker, RankedDocument
from qwen3_rag.backends import BackendSpec
from qwen3_rag.integration import (
    AdapterOptions,
    check_count,
    check_min_score,
    check_model,
    check_query,
    with_adapter_options,
)

__all__ = ["Qwen3Ranker"]


@component
class Qwen3Ranker(ModelComponent[Qwen3Reranker]):
    """Orders documents by how well they answer a query, with a Qwen3-Reranker model.

    Every document is scored separately, so scores can be compared across queries.

    Example:
        ```python
        ranker = Qwen3Ranker("Qwen/Qwen3-Reranker-0.6B", top_k=3)
        best = ranker.run("What is the capital of France?", documents)["documents"]
        best[0].score  # the probability that it answers the query
        ```
    """

    _kind = Qwen3Reranker

    @with_adapter_options
    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Reranker-0.6B",
        *,
        top_k: int | None = 10,
        score_threshold: float | None = None,
        scale_score: bool = True,
        instruction: str | None = None,
        max_length: int | None = None,
        max_query_tokens: int | None = None,
        max_document_tokens: int | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = False,
        backend: BackendSpec | None = None,
        api_base_url: str | None = None,
        api_key: Secret | None = API_KEY,
        cache: str | os.PathLike[str] | None = None,
        device: Device = None,
        token: Secret | None = HF_TOKEN,
        **options: Unpack[AdapterOptions],
    ) -> None:
        r"""Store the arguments; nothing is imported, read or downloaded before `warm_up` or `run`.

        Args:
            model: A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder.
            top_k: Number of documents to return; `None` for all.
            score_threshold: Leave out documents with a lower score, on the scale that `scale_score`
                selects.
            scale_score: Whether the score is the probability of "yes", 0 to 1, or its log-odds,
                which do not saturate.
            instruction: What counts as an answer, in one English sentence. Defaults to the
                checkpoint's own, else Qwen's for web search.
            max_length: Maximum tokens per prompt; only documents are cut to fit. Defaults to 8,192.
            max_query_tokens: Cut longer queries.
            max_document_tokens: Cut longer documents even if they would fit.
            meta_fields_to_embed: Metadata fields to put before the content, in this order.
            embedding_separator: Text between these, a newline by default.
            progress_bar: Whether to show a progress bar on a terminal.
            backend: Runs the model instead of this process; the options of the local engine then do
                not apply.
            api_base_url: As in `Qwen3TextEmbedder`.
            api_key: As in `Qwen3TextEmbedder`.
            cache: As in `Qwen3TextEmbedder`.
            device: As in `Qwen3TextEmbedder`.
            token: Access token for private repositories, read when the model is loaded.
            **options: Further options; `help(Qwen3Ranker)` lists them.

        Raises:
            InputError: A value is out of range, or local options are combined with `backend`.
        """
        check_count(top_k, "top_k", 1)
        check_min_score(score_threshold, "score_threshold")
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
        self._run_by(backend, api_base_url, api_key, cache, device, token, options)

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
        """Make a component with a reranker's model and arguments.

        The two share the weights, but are closed separately. A component made from
        `Qwen3Reranker.from_model` cannot be saved or pickled. The other arguments are those of the
        constructor.

        Raises:
            InputTypeError: `reranker` is not a `Qwen3Reranker`.
            BackendError: The reranker was closed.
        """
        check_kind(reranker, Qwen3Reranker, "reranker")
        return cls(
            **arguments_from(reranker),
            top_k=top_k,
            score_threshold=score_threshold,
            scale_score=scale_score,
            meta_fields_to_embed=meta_fields_to_embed,
            embedding_separator=embedding_separator,
            progress_bar=progress_bar,
        )

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
            query: The user's question, without any prompt text.
            documents: Candidates. If several have the same id, the one with the best score is used.
                Not modified.
            top_k: Number of documents to return. This and the following default to the component's.
            score_threshold: Leave out documents with a lower score.
            scale_score: Whether the score is a probability or log-odds.
            instruction: What counts as an answer to this query.

        Returns:
            `documents`: copies with `score`, best first; ties keep their input order.

        Raises:
            InputError: The query or instruction is blank, or `top_k` is below one.
            InputTypeError: The argument is not a list of documents.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run.
        """
        candidates = self._candidates(query, documents, top_k, score_threshold)
        if not candidates:
            return {"documents": []}
        texts = self.texts_of(candidates)
        ranked = self.get_model().rank(
            query, texts, instruction=instruction, progress=self.progress_bar
        )
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
        texts = self.texts_of(candidates)
        ranked = await self.get_model().arank(
            query, texts, instruction=instruction, progress=self.progress_bar
        )
        return self._result(candidates, ranked, top_k, score_threshold, scale_score)

    def texts_of(self, documents: Sequence[Document]) -> list[str]:
        """Return the text that the model reads of each document, including selected metadata."""
        return texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)

    def _candidates(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None,
        score_threshold: float | None,
    ) -> list[Document]:
        """Check a request before a model is loaded, and remove duplicate ids."""
        check_query(query)
        check_documents(documents, "To rank plain strings, use qwen3_rag.Qwen3Reranker.")
        check_count(top_k, "top_k", 1)
        check_min_score(score_threshold, "score_threshold")
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

    def _model_arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "instruction": self.instruction,
            "max_length": self.max_length,
            "max_query_tokens": self.max_query_tokens,
            "max_document_tokens": self.max_document_tokens,
        }

    def _component_arguments(self) -> dict[str, Any]:
        return {
            "top_k": self.top_k,
            "score_threshold": self.score_threshold,
            "scale_score": self.scale_score,
            "meta_fields_to_embed": self.meta_fields_to_embed,
            "embedding_separator": self.embedding_separator,
            "progress_bar": self.progress_bar,
        }
