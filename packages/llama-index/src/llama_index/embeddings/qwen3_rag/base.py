"""`Qwen3Embedding`: the core's embedder as LlamaIndex's embedding model."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack, cast

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.storage.kvstore.types import BaseKVStore
from pydantic import Field, field_validator

from llama_index.embeddings.qwen3_rag.cache import SeparateCache
from llama_index.embeddings.qwen3_rag.component import ModelName, ModelOptions, Qwen3Component
from qwen3_rag import DEFAULT_INSTRUCTION, Qwen3Embedder
from qwen3_rag.backends import Capabilities
from qwen3_rag.integration import ModelBase

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.rate_limiter import BaseRateLimiter

__all__ = ["Qwen3Embedding"]

Role = Literal["query", "document"]
Vector = list[float]


class Qwen3Embedding(Qwen3Component, BaseEmbedding):
    """Embeds nodes and queries with a Qwen3-Embedding model.

    Queries are embedded with `instruction`, nodes without. Cheap to create, copy and pickle: the
    model is loaded at first use or by `warm_up()`, once per process. The fields are the arguments
    of `qwen3_rag.Qwen3Embedder`; `model` is called `model_name`, as in LlamaIndex, and both names
    are accepted.

    Example:
        ```python
        Settings.embed_model = Qwen3Embedding(model_name="Qwen/Qwen3-Embedding-0.6B", dim=512)
        index = VectorStoreIndex.from_documents(documents)
        ```

    Raises:
        ValidationError: A field has the wrong type, or does not exist.
        InputError: A value is out of range.
    """

    model_class: ClassVar[type[ModelBase]] = Qwen3Embedder
    model_field: ClassVar[str] = "model_name"
    own_arguments: ClassVar[tuple[str, ...]] = (
        "dim",
        "instruction",
        "query_template",
        "document_prefix",
        "max_length",
    )

    model_name: ModelName = Field(
        default="Qwen/Qwen3-Embedding-0.6B",
        description="A Hugging Face id, a `modelscope:` id, `tiny`, or a checkpoint folder.",
    )
    dim: int | None = Field(
        default=None,
        description="Size of the vectors, cut and normalised again; the model's own when None.",
    )
    query_template: str | None = Field(
        default=None,
        description="The prompt of a query, which ends in {text} and may have {instruction}; the "
        "checkpoint's own, else Qwen's, when None.",
    )
    document_prefix: str | None = Field(
        default=None,
        description="Text before every node; the checkpoint's own, else none, when None.",
    )
    embed_batch_size: int = Field(
        default=2048,
        description="Texts per call of the core, which splits them into batches itself.",
        gt=0,
        le=2048,
    )
    embeddings_cache: Any | None = Field(
        default=None,
        description="A BaseKVStore for vectors, with separate keys per role, model and settings.",
        exclude=True,
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model_name: str | os.PathLike[str] = ...,
            model: str | os.PathLike[str] = ...,
            dim: int | None = None,
            instruction: str | None = None,
            query_template: str | None = None,
            document_prefix: str | None = None,
            max_length: int | None = None,
            embed_batch_size: int = ...,
            num_workers: int | None = None,
            embeddings_cache: BaseKVStore | None = None,
            rate_limiter: BaseRateLimiter | None = None,
            callback_manager: CallbackManager | None = None,
            **options: Unpack[ModelOptions],
        ) -> None: ...

    @field_validator("embeddings_cache")
    @classmethod
    def _separate(cls, cache: Any) -> Any:
        if isinstance(cache, BaseKVStore) and not isinstance(cache, SeparateCache):
            return SeparateCache(cache)
        return cache

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores the class."""
        return "Qwen3Embedding"

    @classmethod
    def from_embedder(cls, embedder: Qwen3Embedder, **fields: Any) -> Self:
        """Make an adapter with a core embedder's arguments; it shares the embedder's weights.

        Closing the embedder is up to you. An adapter made from `Qwen3Embedder.from_model`, for
        example with a quantised model, cannot be pickled.

        Args:
            embedder: The core's embedder.
            **fields: Further fields, such as `embed_batch_size` and `callback_manager`.

        Raises:
            BackendError: The embedder was closed.
        """
        return cls._around(embedder, fields)

    def to_payload(self) -> dict[str, Any]:
        """Describe the model to observers, without secrets."""
        return {
            "class_name": self.class_name(),
            "model_name": self.model_name,
            "embed_batch_size": self.embed_batch_size,
            "dim": self.dim,
            "instruction": self.instruction,
            "query_template": self.query_template,
            "document_prefix": self.document_prefix,
            "max_length": self.max_length,
            "revision": self.revision,
        }

    def _get_query_embedding(self, query: str) -> Vector:
        return self._vectors("query", [query])[0]

    async def _aget_query_embedding(self, query: str) -> Vector:
        return (await self._avectors("query", [query]))[0]

    def _get_text_embedding(self, text: str) -> Vector:
        return self._vectors("document", [text])[0]

    async def _aget_text_embedding(self, text: str) -> Vector:
        return (await self._avectors("document", [text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return self._vectors("document", texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return await self._avectors("document", texts)

    def _vectors(self, role: Role, texts: list[str]) -> list[Vector]:
        cache: SeparateCache | None = self.embeddings_cache
        if cache is None:
            return self._embed(role, texts)
        prefix = self._prefix(role, self.warm_up())
        keys = [prefix + text for text in texts]
        known = {key: cache.find(key) for key in dict.fromkeys(keys)}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        for key, vector in zip(missing, self._embed(role, [*missing.values()]), strict=True):
            cache.keep(key, vector)
            known[key] = vector
        return [cast(Vector, known[key]) for key in keys]

    async def _avectors(self, role: Role, texts: list[str]) -> list[Vector]:
        cache: SeparateCache | None = self.embeddings_cache
        if cache is None:
            return await self._aembed(role, texts)
        prefix = self._prefix(role, await self.awarm_up())
        keys = [prefix + text for text in texts]
        known = {key: await cache.afind(key) for key in dict.fromkeys(keys)}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        for key, vector in zip(missing, await self._aembed(role, [*missing.values()]), strict=True):
            await cache.akeep(key, vector)
            known[key] = vector
        return [cast(Vector, known[key]) for key in keys]

    def _embedder(self) -> Qwen3Embedder:
        return cast(Qwen3Embedder, self._open())

    def _embed(self, role: Role, texts: list[str]) -> list[Vector]:
        embedder = self._embedder()
        if role == "query":
            return cast(list[Vector], embedder.embed_queries(texts).tolist())
        return cast(list[Vector], embedder.embed_documents(texts).tolist())

    async def _aembed(self, role: Role, texts: list[str]) -> list[Vector]:
        embedder = self._embedder()
        if role == "query":
            return cast(list[Vector], (await embedder.aembed_queries(texts)).tolist())
        return cast(list[Vector], (await embedder.aembed_documents(texts)).tolist())

    def _prefix(self, role: Role, model: Capabilities) -> str:
        """Build a cache key prefix from everything but the text that affects a vector."""
        instruction = self.instruction
        if instruction is None and not model.prompts.texts:
            instruction = DEFAULT_INSTRUCTION
        settings: tuple[Any, ...] = (
            model.fingerprint,
            self.dim or model.dim,
            self.max_length,
            self.dtype,
            sorted((name, repr(value)) for name, value in (self.model_kwargs or {}).items()),
            instruction if role == "query" else None,
        )
        own = self.query_template if role == "query" else self.document_prefix
        if own is not None:
            settings += (own,)
        if self.api_base is not None:
            settings += (model.variant,)
        return f"{role}:{hashlib.sha256(repr(settings).encode()).hexdigest()[:16]}:"
