"""`Qwen3Embeddings`: a Qwen3-Embedding model as LangChain's `Embeddings`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from langchain_core.embeddings import Embeddings

from langchain_qwen3_rag.settings import ModelOptions, ModelSettings
from qwen3_rag import DEFAULT_INSTRUCTION, BackendError, Qwen3Embedder
from qwen3_rag.integration import (
    TINY,
    FloatArray,
    ModelBase,
    arguments_of,
    canonical,
    published,
)

__all__ = ["Qwen3Embeddings"]

# Options that do not affect the vectors, only where and how fast they are computed.
_NOT_IN_NAMESPACE = {
    *("device", "attention", "batch_tokens", "compile"),
    *("cache_folder", "local_files_only", "token", "cache"),
}

# Rows converted to Python floats before yielding to the event loop: 64 rows of 4,096 take 10 ms.
_ROWS = 64


class Qwen3Embeddings(ModelSettings, Embeddings):
    """Embeds queries with an instruction, and documents without, using a Qwen3-Embedding model.

    Cheap to create: nothing is imported, read or downloaded before the first text. Threads and
    event loops can share an object.

    Example:
        ```python
        embeddings = Qwen3Embeddings(model="Qwen/Qwen3-Embedding-0.6B", dim=512)
        embeddings.embed_documents(["Paris is the capital of France."])
        embeddings.embed_query("What is the capital of France?")
        ```

    Raises:
        InputError: A value is out of range, or options of the local engine are combined with
            `backend`. A wrong type or an unknown field raises pydantic's `ValidationError`, which
            is also a `ValueError`.
    """

    _kind: ClassVar[type[ModelBase]] = Qwen3Embedder

    model: str = "Qwen/Qwen3-Embedding-0.6B"
    """A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder."""

    dim: int | None = None
    """Size of the vectors, from 32 to the model's own, which is the default."""

    query_template: str | None = None
    """The prompt of a query, which ends in `{text}` and may have `{instruction}`. `None` means the
    checkpoint's own, else Qwen's."""

    document_prefix: str | None = None
    """Text before every document. `None` means the checkpoint's own, else none."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: str | os.PathLike[str] = ...,
            dim: int | None = ...,
            instruction: str | None = ...,
            query_template: str | None = ...,
            document_prefix: str | None = ...,
            max_length: int | None = ...,
            **options: Unpack[ModelOptions],
        ) -> None: ...

    @classmethod
    def from_embedder(cls, embedder: Qwen3Embedder, *, instruction: str | None = None) -> Self:
        """Make embeddings with an embedder's arguments. The two share the weights.

        Embeddings made from `Qwen3Embedder.from_model` cannot be serialised or pickled.

        Args:
            embedder: Any embedder that has not been closed.
            instruction: What queries are for; defaults to the embedder's.

        Raises:
            BackendError: The embedder was closed.
        """
        own = {} if instruction is None else {"instruction": instruction}
        return cls(**{**arguments_of(embedder), **own})

    @property
    def embedder(self) -> Qwen3Embedder:
        """The core's embedder, which offers `warm_up`, token counts and an instruction per query.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        embedder: Qwen3Embedder = self._lazy.get(self._make)
        return embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents, which get no instruction.

        Args:
            texts: Documents, used unchanged: white space and newlines matter.

        Returns:
            One vector of unit length per text, in input order.

        Raises:
            InputError: A value has the wrong type or a lone surrogate, or `dim` is out of range for
                the model.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        if not texts:
            return []
        vectors: list[list[float]] = self.embedder.embed_documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, with the instruction.

        Args:
            text: The user's question, without any prompt text.

        Returns:
            A vector of unit length.

        Raises:
            InputError: As in `embed_documents`, or the query is blank.
            MissingExtraError: As in `embed_documents`.
            ModelError: As in `embed_documents`.
            BackendError: As in `embed_documents`.
        """
        vectors = self.embedder.embed_queries([text], instruction=self.instruction)
        vector: list[float] = vectors[0].tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents without blocking the event loop; see `embed_documents`."""
        if not texts:
            return []
        return await _rows(await self.embedder.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query without blocking the event loop; see `embed_query`."""
        vectors = await self.embedder.aembed_queries([text], instruction=self.instruction)
        vector: list[float] = vectors[0].tolist()
        return vector

    @property
    def cache_namespace(self) -> str:
        """A prefix for cache keys, which differs whenever the vectors would differ.

        It covers the model, its revision, and every setting that affects the vectors. A folder is
        identified by its name: empty the cache if you train into it again. With a backend, the
        model's fingerprint is included, so the backend is opened.
        """
        record = published(self.model)
        own = self._own_arguments()
        for name in ("query_template", "document_prefix"):
            if own[name] is None:
                del own[name]  # keeps the names that caches had before there were these
        if own["instruction"] is None and (record is not None or self.model == TINY):
            own["instruction"] = DEFAULT_INSTRUCTION  # what these checkpoints were saved with
        covered: dict[str, Any] = {
            **own,
            "revision": self.revision or (record.revision if record else None),
            "dtype": self.dtype,
            "model_kwargs": canonical(self.model_kwargs or {}),
            "fingerprint": None,
        }
        running = self._running_arguments()
        backend = running.pop("backend", None)
        for name, value in running.items():
            if name not in _NOT_IN_NAMESPACE:
                covered.setdefault(name, canonical(value))
        if backend is not None:
            model = self.embedder.warm_up()
            covered["fingerprint"] = model.fingerprint
            with suppress(BackendError):  # a model that the caller loaded has only its fingerprint
                specification = canonical(backend)
                covered["backend"] = model.variant or specification
        digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()[:32]
        # Characters that LangChain's LocalFileStore accepts; the slash creates a folder for each
        # prefix.
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", self.model.rstrip("/\\").rpartition("/")[2])
        return f"{name}-{digest}/"

    def _own_arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "dim": self.dim,
            "instruction": self.instruction,
            "query_template": self.query_template,
            "document_prefix": self.document_prefix,
            "max_length": self.max_length,
        }


async def _rows(vectors: FloatArray) -> list[list[float]]:
    rows: list[list[float]] = []
    for start in range(0, len(vectors), _ROWS):
        rows.extend(vectors[start : start + _ROWS].tolist())
        await asyncio.sleep(0)
    return rows
