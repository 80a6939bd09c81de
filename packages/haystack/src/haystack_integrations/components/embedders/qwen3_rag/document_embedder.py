"""`Qwen3DocumentEmbedder`: documents to documents with vectors, never with an instruction.

Knows Haystack's component contract; all that is particular to the model is the core's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from qwen3_rag import Embeddings, Qwen3Embedder
from qwen3_rag._lazy import LazyDoor
from qwen3_rag.integration import check_model

__all__ = ["Qwen3DocumentEmbedder"]


@component
class Qwen3DocumentEmbedder(DoorComponent[Qwen3Embedder]):
    """Embeds documents with a Qwen3-Embedding model.

    They get no instruction: only queries do, in `Qwen3TextEmbedder`.

    Example:
        ```python
        embedder = Qwen3DocumentEmbedder("Qwen/Qwen3-Embedding-0.6B")
        documents = embedder.run([Document(content="Paris is in France.")])["documents"]
        ```
    """

    _kind = Qwen3Embedder

    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        dim: int | None = None,
        max_length: int | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = True,
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
            model: As in `Qwen3TextEmbedder`; the two must be the same.
            dim: As there; the two must be the same.
            max_length: Tokens per document; longer ones are cut and reported. Defaults to 8,192.
            meta_fields_to_embed: Metadata to put in front of the content, in this order.
            embedding_separator: What stands between these, a newline by default.
            progress_bar: Whether to show a bar on a terminal.
            revision: As in `Qwen3TextEmbedder`.
            device: As there.
            dtype: As there.
            attention: As there.
            batch_tokens: As there.
            compile: As there.
            cache_folder: As there.
            local_files_only: As there.
            token: As there.
            model_kwargs: As there.

        Raises:
            InputError: A value out of its range.
        """
        self.model = check_model(model)
        self.dim = dim
        self.max_length = max_length
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
    def from_embedder(
        cls,
        embedder: Qwen3Embedder,
        *,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = True,
    ) -> Self:
        """Use an embedder that is open already, such as one from `Qwen3Embedder.from_model`.

        It stays yours to close, and the component cannot be saved in a pipeline. The other
        arguments are the constructor's.

        Raises:
            InputTypeError: Not a `Qwen3Embedder`.
        """
        check_kind(embedder, Qwen3Embedder, "embedder")
        made = cls(
            embedder.model,
            dim=embedder.dim,
            max_length=embedder.max_length,
            meta_fields_to_embed=meta_fields_to_embed,
            embedding_separator=embedding_separator,
            progress_bar=progress_bar,
        )
        made._door = LazyDoor(embedder)
        return made

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents.

        Args:
            documents: Documents with content, or with metadata to embed. Not modified.

        Returns:
            `documents`: copies with `embedding`, in the order given, ids kept. `meta`: `model`;
            `tokens`, how many the model read, `None` where they are not counted; `cut_at`, by the
            id of each document that was too long, the characters of its text that were read.

        Raises:
            InputTypeError: Not a list of documents.
            InputError: A lone surrogate, or `dim` out of the model's range.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run.
        """
        texts = self._texts(documents)
        if not texts:
            return self._result([], None)
        return self._result(
            documents,
            self._open().embed_documents(texts, progress=self.progress_bar, details=True),
        )

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents without blocking the event loop; see `run`."""
        texts = self._texts(documents)
        if not texts:
            return self._result([], None)
        door = self._open()
        return self._result(
            documents,
            await door.aembed_documents(texts, progress=self.progress_bar, details=True),
        )

    def _texts(self, documents: list[Document]) -> list[str]:
        check_documents(documents, "To embed a query, use Qwen3TextEmbedder.")
        return texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)

    def _result(self, documents: list[Document], made: Embeddings | None) -> dict[str, Any]:
        if made is None:
            return {"documents": [], "meta": {"model": self.model, "tokens": 0, "cut_at": {}}}
        cuts = zip(documents, made.cut_at, strict=True)
        return {
            "documents": [
                replace(document, embedding=vector)
                for document, vector in zip(documents, made.vectors.tolist(), strict=True)
            ],
            "meta": {
                "model": self.model,
                "tokens": None if made.tokens is None else sum(made.tokens),
                "cut_at": {document.id: cut for document, cut in cuts if cut is not None},
            },
        }
