"""`Qwen3DocumentEmbedder`: embeds documents, without an instruction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
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
from qwen3_rag import Embeddings, Qwen3Embedder
from qwen3_rag.backends import BackendSpec
from qwen3_rag.integration import AdapterOptions, check_model, with_adapter_options

__all__ = ["Qwen3DocumentEmbedder"]


@component
class Qwen3DocumentEmbedder(ModelComponent[Qwen3Embedder]):
    """Embeds documents with a Qwen3-Embedding model.

    Documents get no instruction. For queries, use `Qwen3TextEmbedder`.

    Example:
        ```python
        embedder = Qwen3DocumentEmbedder("Qwen/Qwen3-Embedding-0.6B")
        documents = embedder.run([Document(content="Paris is in France.")])["documents"]
        ```
    """

    _kind = Qwen3Embedder

    @with_adapter_options
    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        dim: int | None = None,
        document_prefix: str | None = None,
        max_length: int | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = True,
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
            model: As in `Qwen3TextEmbedder`; the two must be the same.
            dim: As in `Qwen3TextEmbedder`; the two must be the same.
            document_prefix: Text before every document. Defaults to the checkpoint's own, else
                none.
            max_length: Maximum tokens per document; longer ones are cut and reported. Defaults to
                8,192.
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
            **options: Further options; `help(Qwen3DocumentEmbedder)` lists them.

        Raises:
            InputError: A value is out of range, or local options are combined with `backend`.
        """
        self.model = check_model(model)
        self.dim = dim
        self.document_prefix = document_prefix
        self.max_length = max_length
        self.meta_fields_to_embed = check_fields(meta_fields_to_embed, embedding_separator)
        self.embedding_separator = embedding_separator
        self.progress_bar = progress_bar
        self._run_by(backend, api_base_url, api_key, cache, device, token, options)

    @classmethod
    def from_embedder(
        cls,
        embedder: Qwen3Embedder,
        *,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = True,
    ) -> Self:
        """Make a component with an embedder's model and arguments.

        The two share the weights, but are closed separately. A component made from
        `Qwen3Embedder.from_model` cannot be saved or pickled. The other arguments are those of the
        constructor.

        Raises:
            InputTypeError: `embedder` is not a `Qwen3Embedder`.
            BackendError: The embedder was closed.
        """
        check_kind(embedder, Qwen3Embedder, "embedder")
        arguments = arguments_from(embedder)
        del arguments["instruction"], arguments["query_template"]  # only queries get them
        return cls(
            **arguments,
            meta_fields_to_embed=meta_fields_to_embed,
            embedding_separator=embedding_separator,
            progress_bar=progress_bar,
        )

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents.

        Args:
            documents: Documents with content, or with metadata to embed. Not modified.

        Returns:
            `documents`: copies with `embedding` and the same ids, in input order. `meta`: `model`;
            `tokens`, the number of tokens read, or `None` if not counted; `cut_at`, which maps the
            id of each document that was cut to the number of characters read.

        Raises:
            InputTypeError: The argument is not a list of documents.
            InputError: A text has a lone surrogate, or `dim` is out of range for the model.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run.
        """
        texts = self._texts(documents)
        if not texts:
            return self._result([], None)
        return self._result(
            documents,
            self.get_model().embed_documents(texts, progress=self.progress_bar, details=True),
        )

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents without blocking the event loop; see `run`."""
        texts = self._texts(documents)
        if not texts:
            return self._result([], None)
        return self._result(
            documents,
            await self.get_model().aembed_documents(
                texts, progress=self.progress_bar, details=True
            ),
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

    def _model_arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "dim": self.dim,
            "document_prefix": self.document_prefix,
            "max_length": self.max_length,
        }

    def _component_arguments(self) -> dict[str, Any]:
        return {
            "meta_fields_to_embed": self.meta_fields_to_embed,
            "embedding_separator": self.embedding_separator,
            "progress_bar": self.progress_bar,
        }
