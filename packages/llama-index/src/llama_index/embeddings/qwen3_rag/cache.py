"""`SeparateCache`: a key-value store of vectors with separate keys per role, model and settings.

LlamaIndex looks up vectors by text only, so a query would get a document's vector, or one model
another model's.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

__all__ = ["SeparateCache"]

# Collection and value format are LlamaIndex's, so that its tools can still read the store.
COLLECTION = "embeddings"
VALUE = "embedding"


class SeparateCache(BaseKVStore):
    """The wrapper that `Qwen3Embedding` puts around its `embeddings_cache`.

    For LlamaIndex's own look-ups it is always empty and stores nothing. The adapter accesses the
    store directly, with keys that contain role, model, settings and text.

    Attributes:
        store: The wrapped store; persist or inspect this one.
    """

    def __init__(self, store: BaseKVStore) -> None:
        """Wrap a store, which still belongs to the caller."""
        self.store = store

    def find(self, key: str) -> list[float] | None:
        """Look up a vector."""
        return _vector(self.store.get(key, collection=COLLECTION))

    async def afind(self, key: str) -> list[float] | None:
        """Look up a vector; does not block the event loop if the store is async."""
        return _vector(await self.store.aget(key, collection=COLLECTION))

    def keep(self, key: str, vector: list[float]) -> None:
        """Store a vector."""
        self.store.put(key, {VALUE: vector}, collection=COLLECTION)

    async def akeep(self, key: str, vector: list[float]) -> None:
        """Store a vector; does not block the event loop if the store is async."""
        await self.store.aput(key, {VALUE: vector}, collection=COLLECTION)

    def __deepcopy__(self, memo: dict[int, Any]) -> SeparateCache:
        return self  # copies of a model share its cache

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return `None`: a text alone does not identify a vector."""
        return None

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return `None`; see `get`."""
        return None

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store nothing; see `get`."""

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """Store nothing; see `get`."""

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return everything in the store's collection."""
        return self.store.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return everything in the store's collection."""
        return await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete from the store."""
        return self.store.delete(key, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete from the store."""
        return await self.store.adelete(key, collection)


def _vector(value: dict[str, Any] | None) -> list[float] | None:
    return None if value is None else list(value[VALUE])
