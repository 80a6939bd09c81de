"""`Qwen3Embedder`, which computes text embeddings as the model's authors do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Unpack, overload

import numpy as np

from qwen3_rag._flow import Flow, run, run_async
from qwen3_rag._inputs import (
    check_count,
    check_instruction,
    check_max_length,
    check_model,
    check_query,
    check_texts,
    spread_instruction,
)
from qwen3_rag._model import ModelBase, check_finite, log_cuts
from qwen3_rag._options import LocalOptions, with_local_options
from qwen3_rag._progress import Progress, progress_bar
from qwen3_rag._prompts import EmbedPrompt
from qwen3_rag._published import MIN_DIM
from qwen3_rag._results import Embeddings, FloatArray
from qwen3_rag._templates import (
    check_prefix,
    check_template,
    document_prefix,
    query_template,
)
from qwen3_rag.backends._base import WHOLE, BackendSpec, Capabilities, Limits
from qwen3_rag.backends._local.spec import CallerModel
from qwen3_rag.errors import InputError, ModelError

__all__ = ["Qwen3Embedder"]


class Qwen3Embedder(ModelBase):
    """Embeds queries and documents with a Qwen3-Embedding model.

    Cheap to create: nothing is imported, read or downloaded before the first use or `warm_up()`.
    Threads and event loops can share an embedder, and all embedders of a checkpoint share its
    weights.

    Example:
        ```python
        embedder = Qwen3Embedder("Qwen/Qwen3-Embedding-0.6B", dim=512)
        documents = embedder.embed_documents(["Paris is the capital of France."])
        query = embedder.embed_queries(["What is the capital of France?"])
        similarity = query @ documents.T
        ```
    """

    role = "embedding"

    @with_local_options
    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        dim: int | None = None,
        instruction: str | None = None,
        query_template: str | None = None,
        document_prefix: str | None = None,
        max_length: int | None = None,
        backend: BackendSpec | None = None,
        cache: str | os.PathLike[str] | None = None,
        **options: Unpack[LocalOptions],
    ) -> None:
        r"""Store the arguments.

        Args:
            model: A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder.
            dim: Size of the vectors, from 32 to the model's own (1,024, 2,560 or 4,096), which is
                the default. A shorter vector is a prefix of the full one, normalised again.
            instruction: What queries are for, in one English sentence; documents get no
                instruction. Defaults to the checkpoint's own, else Qwen's for web search.
            query_template: The prompt of a query, which ends in `{text}` and may have
                `{instruction}`. Defaults to the checkpoint's own, else Qwen's
                `"Instruct: {instruction}\nQuery:{text}"`.
            document_prefix: Text before every document. Defaults to the checkpoint's own, else
                none.
            max_length: Maximum tokens per text, including the end token, up to 32,768; longer texts
                are cut and reported. Defaults to 8,192, the checkpoint's own limit or the model's
                context, whichever is least.
            backend: Runs the model instead of this process, such as a server; the options below
                then do not apply.
            cache: A file that keeps what was computed, for this and other processes; see
                `qwen3_rag.cache`.
            **options: Options of the local engine; `help(Qwen3Embedder)` lists them.

        Raises:
            InputError: A value is out of range, or local options are combined with `backend`.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        self.model = check_model(model)
        record = self._published(self.model)
        check_count(dim, "dim", 1 if record is None else MIN_DIM, record.dim if record else None)
        check_max_length(max_length)
        self.dim = dim
        self.instruction = None if instruction is None else check_instruction(instruction)
        self.query_template = check_template(query_template)
        self.document_prefix = check_prefix(document_prefix)
        self.max_length = max_length
        self._start(backend, cache, options)

    @classmethod
    def from_model(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        dim: int | None = None,
        instruction: str | None = None,
        query_template: str | None = None,
        document_prefix: str | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> Qwen3Embedder:
        """Use a transformers model that you have loaded, for example quantised or with an adapter.

        The model, from `AutoModel` or `AutoModelForCausalLM`, stays on its device and is not
        changed; `tokenizer` is its fast tokenizer. Texts are padded to the longest in each batch,
        so this is slower than opening a checkpoint by name or folder. The other arguments are those
        of the constructor.

        Raises:
            InputError: A value is out of range. Problems with the model itself are reported at
                first use.
        """
        caller = CallerModel(model, tokenizer, batch_tokens)
        return cls(
            caller.name,
            dim=dim,
            instruction=instruction,
            query_template=query_template,
            document_prefix=document_prefix,
            max_length=max_length,
            backend=caller,
        )

    @overload
    def embed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[False] = False,
    ) -> FloatArray: ...

    @overload
    def embed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[True],
    ) -> Embeddings: ...

    @overload
    def embed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool,
    ) -> FloatArray | Embeddings: ...

    def embed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> FloatArray | Embeddings:
        """Embed queries, each with its instruction.

        Args:
            queries: The users' questions, without any prompt text.
            instruction: One for all queries, or one per query; defaults to the embedder's.
            progress: Whether to show a progress bar on a terminal.
            details: Whether to also return token counts and where texts were cut.

        Returns:
            float32 `[queries, dim]`, rows of unit length, in input order; an `Embeddings` with
            `details`.

        Raises:
            InputError: A query is blank, or a value has the wrong type or a lone surrogate, or
                `dim` is out of range.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._embed_queries(queries, instruction, progress, details))

    @overload
    async def aembed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[False] = False,
    ) -> FloatArray: ...

    @overload
    async def aembed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: Literal[True],
    ) -> Embeddings: ...

    @overload
    async def aembed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool,
    ) -> FloatArray | Embeddings: ...

    async def aembed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> FloatArray | Embeddings:
        """Embed queries without blocking the event loop; see `embed_queries`."""
        return await run_async(self._embed_queries(queries, instruction, progress, details))

    @overload
    def embed_documents(
        self,
        documents: Iterable[str],
        *,
        progress: Progress = False,
        details: Literal[False] = False,
    ) -> FloatArray: ...

    @overload
    def embed_documents(
        self, documents: Iterable[str], *, progress: Progress = False, details: Literal[True]
    ) -> Embeddings: ...

    @overload
    def embed_documents(
        self,
        documents: Iterable[str],
        *,
        progress: Progress = False,
        details: bool,
    ) -> FloatArray | Embeddings: ...

    def embed_documents(
        self, documents: Iterable[str], *, progress: Progress = False, details: bool = False
    ) -> FloatArray | Embeddings:
        """Embed documents, which get no instruction.

        For an empty document, only `document_prefix` and the end token are embedded.

        Args:
            documents: Texts, used unchanged: white space and newlines matter.
            progress: Whether to show a progress bar on a terminal; or a function to call, from
                another thread, with the number of newly embedded texts.
            details: Whether to also return token counts and where texts were cut.

        Returns:
            float32 `[documents, dim]`, rows of unit length, in input order; an `Embeddings` with
            `details`.

        Raises:
            InputError: A value has the wrong type or a lone surrogate, or `dim` is out of range.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._embed_documents(documents, progress, details))

    @overload
    async def aembed_documents(
        self,
        documents: Iterable[str],
        *,
        progress: Progress = False,
        details: Literal[False] = False,
    ) -> FloatArray: ...

    @overload
    async def aembed_documents(
        self, documents: Iterable[str], *, progress: Progress = False, details: Literal[True]
    ) -> Embeddings: ...

    @overload
    async def aembed_documents(
        self,
        documents: Iterable[str],
        *,
        progress: Progress = False,
        details: bool,
    ) -> FloatArray | Embeddings: ...

    async def aembed_documents(
        self, documents: Iterable[str], *, progress: Progress = False, details: bool = False
    ) -> FloatArray | Embeddings:
        """Embed documents without blocking the event loop; see `embed_documents`."""
        return await run_async(self._embed_documents(documents, progress, details))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, dim={self.dim})"

    def _own_arguments(self) -> dict[str, Any]:
        names = ("model", "dim", "instruction", "query_template", "document_prefix", "max_length")
        return {name: getattr(self, name) for name in names}

    def _embed_queries(
        self,
        queries: Iterable[str],
        instruction: str | Sequence[str] | None,
        progress: bool,
        details: bool,
    ) -> Flow[FloatArray | Embeddings]:
        texts = check_texts(queries, "queries")
        for index, text in enumerate(texts):
            check_query(text, f"queries[{index}]")
        instructions = spread_instruction(instruction, self.instruction, len(texts))
        capabilities = self._capabilities or (yield from self._open())
        make = query_template(capabilities.prompts, self.query_template).prompt
        return (yield from self._embed(list(map(make, texts, instructions)), progress, details))

    def _embed_documents(
        self, documents: Iterable[str], progress: Progress, details: bool
    ) -> Flow[FloatArray | Embeddings]:
        texts = check_texts(documents, "documents")
        capabilities = self._capabilities or (yield from self._open())
        prefix = document_prefix(capabilities.prompts, self.document_prefix)
        prompts = [EmbedPrompt(text, prefix=prefix) for text in texts]
        return (yield from self._embed(prompts, progress, details))

    def _check(self, capabilities: Capabilities) -> None:
        least, most = min(MIN_DIM, capabilities.dim), capabilities.dim
        if self.dim is not None and not least <= self.dim <= most:
            raise InputError(
                f"`dim` must be from {least} to {most} for {capabilities.model!r}, got {self.dim}."
            )

    def _embed(
        self, prompts: list[EmbedPrompt], progress: Progress, details: bool
    ) -> Flow[FloatArray | Embeddings]:
        capabilities = self._capabilities or (yield from self._open())
        limits = Limits(self.max_length)
        if progress:
            with progress_bar(progress, len(prompts), "Embedding", "text") as on_done:
                output = yield self._backend.run(prompts, limits, on_done)
        else:
            output = yield self._backend.run(prompts, limits)
        vectors = _shorten(check_finite(output.values), self.dim or capabilities.dim)
        if not details:
            log_cuts(output, limits, "texts")
            return vectors
        return Embeddings(
            vectors,
            None if output.tokens is None else tuple(output.tokens.tolist()),
            tuple(None if cut == WHOLE else cut for cut in output.cut_at.tolist()),
        )


def _shorten(vectors: FloatArray, dim: int) -> FloatArray:
    """Cut to the first `dim` numbers, then normalise, as in MRL training."""
    short = vectors[:, :dim]
    lengths = np.linalg.norm(short, axis=1, keepdims=True)
    if not lengths.all():
        raise ModelError(
            f"The model gave an all-zero vector for text {int((lengths == 0).argmax())}, which has "
            "no direction. The checkpoint is damaged."
        )
    normalised: FloatArray = short / lengths
    return normalised
