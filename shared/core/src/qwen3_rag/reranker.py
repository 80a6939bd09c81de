"""`Qwen3Reranker`: how well documents answer a query, as the probability of "yes".

Validates, builds prompts, has the backend compute, sorts. Knows no tokens and no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, overload

from qwen3_rag.backends.base import Backend, Limits, Output
from qwen3_rag.backends.local.backend import LocalBackend
from qwen3_rag.door import Door
from qwen3_rag.errors import InputError
from qwen3_rag.inputs import (
    check_count,
    check_instruction,
    check_max_length,
    check_model,
    check_pairs,
    check_query,
    check_texts,
    spread_instruction,
)
from qwen3_rag.progress import progress_bar
from qwen3_rag.prompts import DEFAULT_INSTRUCTION, RerankPrompt
from qwen3_rag.ranking import ranking, scores
from qwen3_rag.results import RankedDocument, Scores
from qwen3_rag.steps import Steps, run, run_async

__all__ = ["Qwen3Reranker"]


class Qwen3Reranker(Door):
    """Orders documents by how well they answer a query, with a Qwen3-Reranker model.

    Light to make: nothing is imported, read or downloaded before the first use or `warm_up()`.
    Safe to share between threads and event loops; doors on the same checkpoint share its weights.

    Example:
        ```python
        reranker = Qwen3Reranker("Qwen/Qwen3-Reranker-0.6B")
        best = reranker.rank("What is the capital of France?", documents, top_k=3)
        best[0].document, best[0].score
        ```
    """

    role = "reranking"

    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Reranker-0.6B",
        *,
        instruction: str = DEFAULT_INSTRUCTION,
        max_length: int | None = None,
        max_query_tokens: int | None = None,
        max_document_tokens: int | None = None,
        revision: str | None = None,
        device: str | Sequence[str] | None = None,
        dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        attention: Literal["sdpa", "eager"] | None = None,
        batch_tokens: int | None = None,
        compile: bool = False,
        cache_folder: str | None = None,
        local_files_only: bool = False,
        token: str | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        backend: Backend | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            model: A Hugging Face id, `modelscope:` and an id, `"tiny"`, or the folder of a
                checkpoint: the published language model, or one converted to a classifier.
            instruction: What counts as an answer, one English sentence.
            max_length: Tokens per prompt, up to 32,768. Only documents are cut to fit, never the
                prompt around them; cuts are reported. Defaults to 8,192 or the model's context,
                whichever is less.
            max_query_tokens: Cut longer queries. Without it a query that leaves no room for a
                document is an error.
            max_document_tokens: Cut longer documents even where there is room.
            revision: Branch, tag or commit. Defaults as in `Qwen3Embedder`.
            device: A torch device, or several to share the work. Defaults to CUDA, then MPS, then
                the CPU.
            dtype: Number format of the weights. Defaults to bfloat16 on GPUs (from Ampere on) and
                CPUs that multiply it natively, else float32.
            attention: `"sdpa"`, torch's fused kernel (the default), or `"eager"`, plain products.
            batch_tokens: Tokens per batch. The default suits the device; a batch that does not fit
                in memory is halved and tried again.
            compile: Whether torch compiles parts of the model, ten seconds at the first load.
            cache_folder: Where downloads are kept.
            local_files_only: Whether to do without the network.
            token: Access token for private repositories.
            model_kwargs: Further arguments of transformers' `from_pretrained`.
            backend: Runs the model instead of this process; the arguments from `revision` on then
                have no meaning.

        Raises:
            InputError: A value out of its range.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        model = check_model(model)
        self._published(model)
        check_max_length(max_length)
        check_count(max_query_tokens, "max_query_tokens", 1)
        check_count(max_document_tokens, "max_document_tokens", 1)
        check_count(batch_tokens, "batch_tokens", 1)
        self.model = model
        self.instruction = check_instruction(instruction)
        self.limits = Limits(max_length, max_query_tokens, max_document_tokens)
        self._backend = self._run_by(
            backend,
            revision=revision,
            device=device,
            dtype=dtype,
            attention=attention,
            batch_tokens=batch_tokens,
            compile=compile,
            cache_folder=cache_folder,
            local_files_only=local_files_only,
            token=token,
            model_kwargs=model_kwargs,
        )

    @classmethod
    def from_model(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        instruction: str = DEFAULT_INSTRUCTION,
        max_length: int | None = None,
        max_query_tokens: int | None = None,
        max_document_tokens: int | None = None,
        batch_tokens: int | None = None,
    ) -> Qwen3Reranker:
        """Use a transformers model that is already loaded, quantised or with an adapter.

        The model, from `AutoModelForCausalLM` or `AutoModelForSequenceClassification`, is used
        where and as it is, and not changed; `tokenizer` is its fast tokenizer. Prompts are padded
        to the longest of a batch, which is slower than opening a checkpoint by name or folder.
        The other arguments are the constructor's.

        Raises:
            InputError: A value out of its range. What is wrong with the model shows at first use.
        """
        backend = LocalBackend.around(model, tokenizer, cls.role, batch_tokens)
        return cls(
            backend.spec.model,
            instruction=instruction,
            max_length=max_length,
            max_query_tokens=max_query_tokens,
            max_document_tokens=max_document_tokens,
            backend=backend,
        )

    @property
    def own_settings(self) -> dict[str, Any]:
        return {"model": self.model, "instruction": self.instruction, **asdict(self.limits)}

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        instruction: str | None = None,
        progress: bool = False,
    ) -> list[RankedDocument]:
        """Order documents by how well each one answers the query.

        Every pair is judged on its own, so a score does not depend on the other documents and can
        be compared across calls with the same instruction.

        Args:
            query: The user's question, without any prompt text.
            documents: Candidates, in any order; an empty one gets a score like any other.
            top_k: How many to return; all when omitted.
            instruction: What counts as an answer; the door's own when omitted.
            progress: Whether to show a bar on a terminal.

        Returns:
            Best first; ties keep the order given. `index` points into `documents`.

        Raises:
            InputError: A blank query, a wrong type, a lone surrogate, `top_k` below one, or a
                query too long to leave room for a document.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._rank(query, documents, top_k, instruction, progress))

    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        instruction: str | None = None,
        progress: bool = False,
    ) -> list[RankedDocument]:
        """Order documents without blocking the event loop; see `rank`."""
        return await run_async(self._rank(query, documents, top_k, instruction, progress))

    def rank_many(
        self,
        queries: Iterable[str],
        documents_per_query: Iterable[Iterable[str]],
        *,
        top_k: int | None = None,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
    ) -> list[list[RankedDocument]]:
        """Rank for several queries at once, each with its own documents.

        Args:
            queries: Questions.
            documents_per_query: Candidates of each.
            top_k: How many to return per query; all when omitted.
            instruction: One for all, or one per query; the door's own when omitted.
            progress: Whether to show a bar on a terminal.

        Returns:
            One ranking per query, as `rank` returns it.

        Raises:
            InputError: As `rank`, or not as many lists of documents as queries.
            ModelError: As `rank`.
            BackendError: As `rank`.
        """
        return run(self._rank_many(queries, documents_per_query, top_k, instruction, progress))

    async def arank_many(
        self,
        queries: Iterable[str],
        documents_per_query: Iterable[Iterable[str]],
        *,
        top_k: int | None = None,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
    ) -> list[list[RankedDocument]]:
        """Rank for several queries without blocking the event loop; see `rank_many`."""
        return await run_async(
            self._rank_many(queries, documents_per_query, top_k, instruction, progress)
        )

    @overload
    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[False] = False,
    ) -> list[float]: ...

    @overload
    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[True],
    ) -> Scores: ...

    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> list[float] | Scores:
        """Judge query-document pairs without ordering them.

        Args:
            pairs: Queries with one document each.
            instruction: One for all, or one per pair; the door's own when omitted.
            progress: Whether to show a bar on a terminal.
            details: Whether to tell logits, token counts and cuts too.

        Returns:
            The probability of "yes" for each pair, in the order given; a `Scores` with `details`.

        Raises:
            InputError: As `rank`, or an item that is not a pair.
            ModelError: As `rank`.
            BackendError: As `rank`.
        """
        return run(self._score(pairs, instruction, progress, details))

    @overload
    async def ascore(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[False] = False,
    ) -> list[float]: ...

    @overload
    async def ascore(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[True],
    ) -> Scores: ...

    async def ascore(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> list[float] | Scores:
        """Judge pairs without blocking the event loop; see `score`."""
        return await run_async(self._score(pairs, instruction, progress, details))

    def _rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None,
        instruction: str | None,
        progress: bool,
    ) -> Steps[list[RankedDocument]]:
        check_query(query)
        texts = check_texts(documents, "documents")
        [ranked] = yield from self._rank_many([query], [texts], top_k, instruction, progress)
        return ranked

    def _rank_many(
        self,
        queries: Iterable[str],
        documents_per_query: Iterable[Iterable[str]],
        top_k: int | None,
        instruction: str | Sequence[str] | None,
        progress: bool,
    ) -> Steps[list[list[RankedDocument]]]:
        asked = check_texts(queries, "queries")
        for index, query in enumerate(asked):
            check_query(query, f"queries[{index}]")
        texts = [
            check_texts(documents, f"documents_per_query[{index}]")
            for index, documents in enumerate(documents_per_query)
        ]
        if len(texts) != len(asked):
            raise InputError(
                f"`documents_per_query` has {len(texts)} lists for {len(asked)} queries. Give one "
                "list per query; it may be empty."
            )
        check_count(top_k, "top_k", 1)
        instructions = spread_instruction(instruction, self.instruction, len(asked))
        prompts = [
            RerankPrompt(query, text, instructed)
            for query, instructed, documents in zip(asked, instructions, texts, strict=True)
            for text in documents
        ]
        output = yield from self._run(prompts, progress)
        rankings, start = [], 0
        for documents in texts:
            rankings.append(ranking(documents, output, start, top_k))
            start += len(documents)
        return rankings

    def _score(
        self,
        pairs: Iterable[tuple[str, str]],
        instruction: str | Sequence[str] | None,
        progress: bool,
        details: bool,
    ) -> Steps[list[float] | Scores]:
        checked = check_pairs(pairs)
        instructions = spread_instruction(instruction, self.instruction, len(checked))
        prompts = [
            RerankPrompt(query, document, instructed)
            for (query, document), instructed in zip(checked, instructions, strict=True)
        ]
        output = yield from self._run(prompts, progress)
        result = scores(output)
        return result if details else list(result.scores)

    def _run(self, prompts: list[RerankPrompt], progress: bool) -> Steps[Output]:
        yield from self._open()
        with progress_bar(progress, len(prompts), "Reranking", "pair") as on_done:
            output: Output = yield self._backend.run(prompts, self.limits, on_done)
        return output
