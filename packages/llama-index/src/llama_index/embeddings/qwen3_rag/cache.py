"""`SeparateCache`: a key-value store of vectors, kept apart by role, model and settings.

LlamaIndex looks vectors up by the text alone, so that a query gets a document's vector, and one
model another's.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

__all__ = ["SeparateCache"]

# LlamaIndex's own collection and form of a value, so that its tools read the store as before.
COLLECTION = "embeddings"
VALUE = "embedding"


class SeparateCache(BaseKVStore):
    """What `Qwen3Embedding` makes of a store given as `embeddings_cache`.

    To LlamaIndex's own look-ups it is always empty and keeps nothing; the adapter asks the store
    itself, under keys that name role, model and settings beside the text.

    Attributes:
        store: The store that was given; persist or inspect this one.
    """

    def __init__(self, store: BaseKVStore) -> None:
        """Wrap a store, which stays the caller's."""
        self.store = store

    def find(self, key: str) -> list[float] | None:
        """Look a vector up."""
        return _vector(self.store.get(key, collection=COLLECTION))

    async def afind(self, key: str) -> list[float] | None:
        """Look a vector up without blocking the event loop, if the store can."""
        return _vector(await self.store.aget(key, collection=COLLECTION))

    def keep(self, key: str, vector: list[float]) -> None:
        """Store a vector."""
        self.store.put(key, {VALUE: vector}, collection=COLLECTION)

    async def akeep(self, key: str, vector: list[float]) -> None:
        """Store a vector without blocking the event loop, if the store can."""
        await self.store.aput(key, {VALUE: vector}, collection=COLLECTION)

    def __deepcopy__(self, memo: dict[int, Any]) -> SeparateCache:
        return self  # copies of a model share its cache

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Find nothing: a text alone does not say which vector is meant."""
        return None

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Find nothing; see `get`."""
        return None

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Keep nothing; see `get`."""

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """Keep nothing; see `get`."""

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Give all of the store's collection."""
        return self.store.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Give all of the store's collection."""
        return await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete from the store."""
        return self.store.delete(key, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete from the store."""
        return await self.store.adelete(key, collection)


def _vector(value: dict[str, Any] | None) -> list[float] | None:
    return None if value is None else list(value[VALUE])
