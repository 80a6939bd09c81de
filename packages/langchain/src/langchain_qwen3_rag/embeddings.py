"""`Qwen3Embeddings`: the core's embedder as LangChain's `Embeddings`.

Knows how lists of floats and cache keys are made; everything about the model is the core's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import Any, ClassVar, Self

from langchain_core.embeddings import Embeddings

from langchain_qwen3_rag.settings import DoorSettings
from qwen3_rag import Qwen3Embedder
from qwen3_rag.backends._local.checkpoint.hub import LocalSpec
from qwen3_rag.integration import FloatArray, published

__all__ = ["Qwen3Embeddings"]

# Where and how fast vectors are computed, not which.
_NOT_IN_NAMESPACE = {
    *("device", "attention", "batch_tokens", "compile"),
    *("cache_folder", "local_files_only", "token"),
}

# Rows turned into Python floats before the event loop gets its turn: 64 of 4,096 take 10 ms.
_ROWS = 64


class Qwen3Embeddings(DoorSettings, Embeddings):
    """Embeds queries with their instruction and documents without, by a Qwen3-Embedding model.

    Light to make: nothing is imported, read or downloaded before the first text. Safe to share
    between threads and event loops.

    Example:
        ```python
        embeddings = Qwen3Embeddings(model="Qwen/Qwen3-Embedding-0.6B", dim=512)
        embeddings.embed_documents(["Paris is the capital of France."])
        embeddings.embed_query("What is the capital of France?")
        ```

    Raises:
        InputError: A value out of its range. A wrong type or an unknown field is pydantic's
            `ValidationError`, which is a `ValueError` as well.
    """

    _kind: ClassVar[type[Door]] = Qwen3Embedder

    model: str = "Qwen/Qwen3-Embedding-0.6B"
    """A Hugging Face id, `modelscope:` and an id, `"tiny"`, or the folder of a checkpoint."""

    dim: int | None = None
    """Size of the vectors, from 32 to the model's own, which is the default."""

    @classmethod
    def from_embedder(cls, embedder: Qwen3Embedder, *, instruction: str | None = None) -> Self:
        """Take over an embedder's settings, and its model where settings cannot name it.

        Such a model is one handed over with `Qwen3Embedder.from_model`, or a backend of your own.
        It stays yours to close, and the result cannot be serialised or pickled.

        Args:
            embedder: The core's door.
            instruction: What queries are for; the embedder's own when omitted.
        """
        own: dict[str, Any] = {} if instruction is None else {"instruction": instruction}
        return cls._around(embedder, **own)

    @property
    def embedder(self) -> Qwen3Embedder:
        """The core's door, with `warm_up`, token counts and cuts, and instructions per query.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        door: Qwen3Embedder = self._open()
        return door

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents, which get no instruction.

        Args:
            texts: Documents, unchanged: white space and newlines count.

        Returns:
            One vector of unit length per text, in the order given.

        Raises:
            InputError: A wrong type, a lone surrogate, or `dim` out of the model's range.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run, or was closed.
        """
        if not texts:
            return []
        vectors: list[list[float]] = self.embedder.embed_documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query with the instruction.

        Args:
            text: The user's question, without any prompt text.

        Returns:
            A vector of unit length.

        Raises:
            InputError: A blank query; and as `embed_documents`.
            MissingExtraError: As `embed_documents`.
            ModelError: As `embed_documents`.
            BackendError: As `embed_documents`.
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
        """A prefix for the keys of a cache, another one wherever vectors would be others.

        Stands for the model, its revision, and every setting but those that say where and how fast
        to compute. A folder counts by its name: empty the cache when you train into it again. A
        model of your own is asked for its fingerprint, which opens it.
        """
        settings = self.model_dump(exclude=_NOT_IN_NAMESPACE)
        record = published(self.model)
        settings["revision"] = self.revision or (record.revision if record else None)
        settings["model_kwargs"] = LocalSpec(
            self.model, "embedding", model_kwargs=self.model_kwargs or {}
        ).canonical_kwargs
        given = self._door.given
        settings["fingerprint"] = given.warm_up().fingerprint if given is not None else None
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]
        # Letters that LangChain's LocalFileStore takes; the slash gives each its folder there.
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", self.model.rstrip("/\\").rpartition("/")[2])
        return f"{name}-{digest}/"


async def _rows(vectors: FloatArray) -> list[list[float]]:
    rows: list[list[float]] = []
    for start in range(0, len(vectors), _ROWS):
        rows.extend(vectors[start : start + _ROWS].tolist())
        await asyncio.sleep(0)
    return rows
