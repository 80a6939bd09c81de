"""`Qwen3Reranker`, which scores how well documents answer a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Literal, Unpack, cast, overload

from qwen3_rag._flow import Flow, run, run_async
from qwen3_rag._inputs import (
    check_count,
    check_instruction,
    check_max_length,
    check_model,
    check_pairs,
    check_query,
    check_texts,
    spread_instruction,
)
from qwen3_rag._model import ModelBase, check_finite, log_cuts
from qwen3_rag._options import LocalOptions, with_local_options
from qwen3_rag._progress import progress_bar
from qwen3_rag._prompts import RerankPrompt
from qwen3_rag._ranking import ranking, scores
from qwen3_rag._results import RankedDocument, Scores
from qwen3_rag._templates import saved_instruction
from qwen3_rag.backends._base import BackendSpec, Limits, Output
from qwen3_rag.backends._local.spec import CallerModel
from qwen3_rag.errors import InputError

__all__ = ["Qwen3Reranker"]


class Qwen3Reranker(ModelBase):
    """Orders documents by how well they answer a query, with a Qwen3-Reranker model.

    Cheap to create: nothing is imported, read or downloaded before the first use or `warm_up()`.
    Threads and event loops can share a reranker, and all rerankers of a checkpoint share its
    weights.

    Example:
        ```python
        reranker = Qwen3Reranker("Qwen/Qwen3-Reranker-0.6B")
        best = reranker.rank("What is the capital of France?", documents, top_k=3)
        best[0].document, best[0].score
        ```
    """

    role = "reranking"

    @with_local_options
    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Reranker-0.6B",
        *,
        instruction: str | None = None,
        max_length: int | None = None,
        max_query_tokens: int | None = None,
        max_document_tokens: int | None = None,
        backend: BackendSpec | None = None,
        cache: str | os.PathLike[str] | None = None,
        **options: Unpack[LocalOptions],
    ) -> None:
        """Store the arguments.

        Args:
            model: A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder: the
                published language model, or a version converted to a classifier.
            instruction: What counts as an answer, in one English sentence. Defaults to the
                checkpoint's own, else Qwen's for web search.
            max_length: Maximum tokens per prompt, up to 32,768. Only documents are cut to fit,
                never the prompt around them. Defaults to 8,192 or the model's context, whichever is
                less.
            max_query_tokens: Cut longer queries. Without this limit, a query that leaves no room
                for a document is an error.
            max_document_tokens: Cut longer documents even if there is room.
            backend: Runs the model instead of this process, such as a server; the options below
                then do not apply.
            cache: A file that keeps what was computed, for this and other processes; see
                `qwen3_rag.cache`.
            **options: Options of the local engine; `help(Qwen3Reranker)` lists them.

        Raises:
            InputError: A value is out of range, or local options are combined with `backend`.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        self.model = check_model(model)
        self._published(self.model)
        check_max_length(max_length)
        check_count(max_query_tokens, "max_query_tokens", 1)
        check_count(max_document_tokens, "max_document_tokens", 1)
        self.instruction = None if instruction is None else check_instruction(instruction)
        self.limits = Limits(max_length, max_query_tokens, max_document_tokens)
        self._start(backend, cache, options)

    @classmethod
    def from_model(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        instruction: str | None = None,
        max_length: int | None = None,
        max_query_tokens: int | None = None,
        max_document_tokens: int | None = None,
        batch_tokens: int | None = None,
    ) -> Qwen3Reranker:
        """Use a transformers model that you have loaded, for example quantised or with an adapter.

        The model, from `AutoModelForCausalLM` or `AutoModelForSequenceClassification`, stays on its
        device and is not changed; `tokenizer` is its fast tokenizer. Prompts are padded to the
        longest in each batch, so this is slower than opening a checkpoint by name or folder. The
        other arguments are those of the constructor.

        Raises:
            InputError: A value is out of range. Problems with the model itself are reported at
                first use.
        """
        caller = CallerModel(model, tokenizer, batch_tokens)
        return cls(
            caller.name,
            instruction=instruction,
            max_length=max_length,
            max_query_tokens=max_query_tokens,
            max_document_tokens=max_document_tokens,
            backend=caller,
        )

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

        Every pair is scored separately, so a score does not depend on the other documents and can
        be compared across calls with the same instruction.

        Args:
            query: The user's question, without any prompt text.
            documents: Candidates, in any order. Empty documents are scored too.
            top_k: Number of documents to return; all when omitted.
            instruction: What counts as an answer; defaults to the reranker's.
            progress: Whether to show a progress bar on a terminal.

        Returns:
            Best first; ties keep their input order. `index` is the position in `documents`.

        Raises:
            InputError: A query is blank, or a value has the wrong type or a lone surrogate, `top_k`
                is below one, or a query is too long to leave room for a document.
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
        """Rank documents for several queries at once, each with its own documents.

        Args:
            queries: The users' questions.
            documents_per_query: A list of candidates for each query.
            top_k: Number of documents to return per query; all when omitted.
            instruction: One for all queries, or one per query; defaults to the reranker's.
            progress: Whether to show a progress bar on a terminal.

        Returns:
            One ranking per query, as `rank` returns it.

        Raises:
            InputError: As in `rank`, or the numbers of queries and document lists differ.
            ModelError: As in `rank`.
            BackendError: As in `rank`.
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
        """Rank documents for several queries without blocking the event loop; see `rank_many`."""
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

    @overload
    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool,
    ) -> list[float] | Scores: ...

    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> list[float] | Scores:
        """Score query-document pairs without ordering them.

        Args:
            pairs: Pairs of query and document.
            instruction: One for all pairs, or one per pair; defaults to the reranker's.
            progress: Whether to show a progress bar on a terminal.
            details: Whether to also return logits, token counts and where texts were cut.

        Returns:
            The probability of "yes" for each pair, in input order; a `Scores` with `details`.

        Raises:
            InputError: As in `rank`, or an item is not a pair.
            ModelError: As in `rank`.
            BackendError: As in `rank`.
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

    @overload
    async def ascore(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool,
    ) -> list[float] | Scores: ...

    async def ascore(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> list[float] | Scores:
        """Score pairs without blocking the event loop; see `score`."""
        return await run_async(self._score(pairs, instruction, progress, details))

    def _rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None,
        instruction: str | None,
        progress: bool,
    ) -> Flow[list[RankedDocument]]:
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
    ) -> Flow[list[list[RankedDocument]]]:
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
        instructions = yield from self._instructions(instruction, len(asked))
        prompts = [
            RerankPrompt(query, text, instructed)
            for query, instructed, documents in zip(asked, instructions, texts, strict=True)
            for text in documents
        ]
        output = yield from self._run(prompts, progress)
        log_cuts(output, self.limits, "pairs")
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
    ) -> Flow[list[float] | Scores]:
        checked = check_pairs(pairs)
        instructions = yield from self._instructions(instruction, len(checked))
        prompts = [
            RerankPrompt(query, document, instructed)
            for (query, document), instructed in zip(checked, instructions, strict=True)
        ]
        output = yield from self._run(prompts, progress)
        result = scores(output)
        if not details:
            log_cuts(output, self.limits, "pairs")
        return result if details else list(result.scores)

    def _instructions(self, instruction: str | Sequence[str] | None, count: int) -> Flow[list[str]]:
        """Return one instruction for each of `count` queries or pairs."""
        default = self.instruction
        # Before the model is opened, so that a wrong argument does not wait for that.
        given = spread_instruction(instruction, default or "", count)
        if instruction is None and default is None:
            capabilities = self._capabilities or (yield from self._open())
            given = [saved_instruction(capabilities.prompts)] * count
        return cast("list[str]", given)

    def _run(self, prompts: list[RerankPrompt], progress: bool) -> Flow[Output]:
        if progress:
            with progress_bar(True, len(prompts), "Reranking", "pair") as on_done:
                output: Output = yield self._backend.run(prompts, self.limits, on_done)
        else:
            output = yield self._backend.run(prompts, self.limits)
        check_finite(output.values)
        return output

    def _own_arguments(self) -> dict[str, Any]:
        return {"model": self.model, "instruction": self.instruction, **asdict(self.limits)}
