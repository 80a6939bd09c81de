"""`Qwen3Embedder`: texts to vectors, the way the model's authors do it.

Validates, builds prompts, has the backend compute, cuts and normalises; knows no tokens or torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np

from qwen3_rag.backends.base import Backend, Capabilities, Limits
from qwen3_rag.backends.local.backend import LocalBackend
from qwen3_rag.door import Door
from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.inputs import (
    check_count,
    check_instruction,
    check_max_length,
    check_model,
    check_query,
    check_texts,
    spread_instruction,
)
from qwen3_rag.models import MIN_DIM
from qwen3_rag.progress import progress_bar
from qwen3_rag.prompts import DEFAULT_INSTRUCTION, EmbedPrompt
from qwen3_rag.ranking import offset
from qwen3_rag.results import Embeddings, FloatArray
from qwen3_rag.steps import Steps, run, run_async

__all__ = ["Qwen3Embedder"]


class Qwen3Embedder(Door):
    """Embeds queries and documents with a Qwen3-Embedding model.

    Light to make: nothing is imported, read or downloaded before the first use or `warm_up()`.
    Safe to share between threads and event loops; doors on the same checkpoint share its weights.

    Example:
        ```python
        embedder = Qwen3Embedder("Qwen/Qwen3-Embedding-0.6B", dim=512)
        documents = embedder.embed_documents(["Paris is the capital of France."])
        query = embedder.embed_queries(["What is the capital of France?"])
        similarity = query @ documents.T
        ```
    """

    role = "embedding"

    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        dim: int | None = None,
        instruction: str = DEFAULT_INSTRUCTION,
        max_length: int | None = None,
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
                checkpoint.
            dim: Size of the vectors, from 32 to the model's own (1,024, 2,560 or 4,096), which is
                the default. Shorter vectors are the first numbers of the full one, normalised anew.
            instruction: What queries are for, one English sentence; documents never get it.
            max_length: Tokens per text, end token included, up to 32,768; longer texts are cut and
                reported. Defaults to 8,192 or the model's context, whichever is less.
            revision: Branch, tag or commit. Published models default to a pinned commit of the Hub;
                ModelScope, whose commits are others, to its main branch.
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
        record = self._published(model)
        check_count(dim, "dim", 1 if record is None else MIN_DIM, record.dim if record else None)
        check_max_length(max_length)
        check_count(batch_tokens, "batch_tokens", 1)
        self.model = model
        self.dim = dim
        self.instruction = check_instruction(instruction)
        self.max_length = max_length
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
        dim: int | None = None,
        instruction: str = DEFAULT_INSTRUCTION,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> Qwen3Embedder:
        """Use a transformers model that is already loaded, quantised or with an adapter.

        The model, from `AutoModel` or `AutoModelForCausalLM`, is used where and as it is, and not
        changed; `tokenizer` is its fast tokenizer. Texts are padded to the longest of a batch,
        which is slower than opening a checkpoint by name or folder. The other arguments are the
        constructor's.

        Raises:
            InputError: A value out of its range. What is wrong with the model shows at first use.
        """
        backend = LocalBackend.around(model, tokenizer, cls.role, batch_tokens)
        return cls(
            backend.spec.model,
            dim=dim,
            instruction=instruction,
            max_length=max_length,
            backend=backend,
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

    def embed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> FloatArray | Embeddings:
        """Embed questions, each with its instruction.

        Args:
            queries: Questions as users ask them, without any prompt text.
            instruction: One for all, or one per query; the door's own when omitted.
            progress: Whether to show a bar on a terminal.
            details: Whether to tell token counts and cuts too.

        Returns:
            float32 `[queries, dim]`, rows of unit length, in the order given; an `Embeddings` with
            `details`.

        Raises:
            InputError: A blank query, a wrong type, a lone surrogate, or `dim` out of range.
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

    async def aembed_queries(
        self,
        queries: Iterable[str],
        *,
        instruction: str | Sequence[str] | None = None,
        progress: bool = False,
        details: bool = False,
    ) -> FloatArray | Embeddings:
        """Embed questions without blocking the event loop; see `embed_queries`."""
        return await run_async(self._embed_queries(queries, instruction, progress, details))

    @overload
    def embed_documents(
        self, documents: Iterable[str], *, progress: bool = False, details: Literal[False] = False
    ) -> FloatArray: ...

    @overload
    def embed_documents(
        self, documents: Iterable[str], *, progress: bool = False, details: Literal[True]
    ) -> Embeddings: ...

    def embed_documents(
        self, documents: Iterable[str], *, progress: bool = False, details: bool = False
    ) -> FloatArray | Embeddings:
        """Embed documents, which get no instruction.

        An empty document embeds as the end token alone.

        Args:
            documents: Texts, unchanged: white space and newlines count.
            progress: Whether to show a bar on a terminal.
            details: Whether to tell token counts and cuts too.

        Returns:
            float32 `[documents, dim]`, rows of unit length, in the order given; an `Embeddings`
            with `details`.

        Raises:
            InputError: A wrong type, a lone surrogate, or `dim` out of range.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        return run(self._embed_documents(documents, progress, details))

    @overload
    async def aembed_documents(
        self, documents: Iterable[str], *, progress: bool = False, details: Literal[False] = False
    ) -> FloatArray: ...

    @overload
    async def aembed_documents(
        self, documents: Iterable[str], *, progress: bool = False, details: Literal[True]
    ) -> Embeddings: ...

    async def aembed_documents(
        self, documents: Iterable[str], *, progress: bool = False, details: bool = False
    ) -> FloatArray | Embeddings:
        """Embed documents without blocking the event loop; see `embed_documents`."""
        return await run_async(self._embed_documents(documents, progress, details))

    @property
    def own_settings(self) -> dict[str, Any]:
        names = ("model", "dim", "instruction", "max_length")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"Qwen3Embedder({self.model!r}, dim={self.dim})"

    def _embed_queries(
        self,
        queries: Iterable[str],
        instruction: str | Sequence[str] | None,
        progress: bool,
        details: bool,
    ) -> Steps[FloatArray | Embeddings]:
        texts = check_texts(queries, "queries")
        for index, text in enumerate(texts):
            check_query(text, f"queries[{index}]")
        instructions = spread_instruction(instruction, self.instruction, len(texts))
        prompts = [EmbedPrompt(*pair) for pair in zip(texts, instructions, strict=True)]
        return (yield from self._embed(prompts, progress, details))

    def _embed_documents(
        self, documents: Iterable[str], progress: bool, details: bool
    ) -> Steps[FloatArray | Embeddings]:
        prompts = [EmbedPrompt(text) for text in check_texts(documents, "documents")]
        return (yield from self._embed(prompts, progress, details))

    def _open(self) -> Steps[Capabilities]:
        capabilities = yield from super()._open()
        if self.dim is not None and not capabilities.min_dim <= self.dim <= capabilities.dim:
            raise InputError(
                f"`dim` must be from {capabilities.min_dim} to {capabilities.dim} for "
                f"{capabilities.model!r}, got {self.dim}."
            )
        return capabilities

    def _embed(
        self, prompts: list[EmbedPrompt], progress: bool, details: bool
    ) -> Steps[FloatArray | Embeddings]:
        capabilities = yield from self._open()
        with progress_bar(progress, len(prompts), "Embedding", "text") as on_done:
            output = yield self._backend.run(prompts, Limits(self.max_length), on_done)
        vectors = _shorten(output.values, self.dim or capabilities.dim)
        if not details:
            return vectors
        return Embeddings(
            vectors,
            None if output.tokens is None else tuple(output.tokens.tolist()),
            tuple(offset(cut) for cut in output.cut_at.tolist()),
        )


def _shorten(vectors: FloatArray, dim: int) -> FloatArray:
    """Cut to the first `dim` numbers, then normalise: the order MRL was trained for."""
    short = vectors[:, :dim]
    lengths = np.linalg.norm(short, axis=1, keepdims=True)
    if not lengths.all():
        raise ModelError(
            f"The model gave an all-zero vector for text {int((lengths == 0).argmax())}, which has "
            "no direction. The checkpoint is damaged."
        )
    normalised: FloatArray = short / lengths
    return normalised
