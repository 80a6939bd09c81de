"""`embeddings_cache`: a text's vector is found again, and never another one in its place."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index.embeddings.qwen3_rag import Qwen3Embedding, SeparateCache
from qwen3_rag.backends import BackendSpec
from qwen3_rag_testkit.backends import CountingBackend

#: Equal models, whatever a test calls them.
SAME = CountingBackend("same", fingerprint="deterministic-embedding-64")


def adapter(
    store: SimpleKVStore | None, backend: BackendSpec | None = None, **fields: Any
) -> Qwen3Embedding:
    return Qwen3Embedding(
        model_name="mine", backend=backend or SAME, embeddings_cache=store, **fields
    )


def vectors(model: BaseEmbedding, how: str) -> list[list[float]]:
    """Vectors of one text as a document, in a batch, and as a query."""
    if how == "sync":
        return [
            model.get_text_embedding("a"),
            *model.get_text_embedding_batch(["a", "b", "a"]),
            model.get_query_embedding("a"),
        ]

    async def awaited() -> list[list[float]]:
        return [
            await model.aget_text_embedding("a"),
            *await model.aget_text_embedding_batch(["a", "b", "a"]),
            await model.aget_query_embedding("a"),
        ]

    return asyncio.run(awaited())


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_cache_changes_no_vector_and_asks_for_each_once(how: str) -> None:
    backend = replace(SAME, name=f"each once, {how}")
    model = adapter(SimpleKVStore(), backend)
    expected = vectors(adapter(None), how)

    assert vectors(model, how) == expected
    assert len(backend.uses.prompts) == 3  # two documents, one query
    assert vectors(model, "sync") == vectors(model, "async") == expected
    assert len(backend.uses.prompts) == 3


def test_other_models_and_settings_have_other_vectors() -> None:
    store = SimpleKVStore()
    settings: list[dict[str, Any]] = [{}, {"dim": 32}, {"max_length": 70}, {"instruction": "Code"}]

    for setting in settings:
        cached, plain = adapter(store, **setting), adapter(None, **setting)
        assert vectors(cached, "sync") == vectors(plain, "sync"), setting

    other = CountingBackend("another model", fingerprint="another fingerprint")
    adapter(store, other).get_text_embedding("a")
    assert len(other.uses.prompts) == 1


def test_documents_do_not_depend_on_the_instruction() -> None:
    store, backend = SimpleKVStore(), replace(SAME, name="another instruction")
    adapter(store).get_text_embedding("a")

    adapter(store, backend, instruction="Find code").get_text_embedding("a")

    assert backend.uses.prompts == []


def test_keys_stay_the_same_so_that_stored_vectors_are_found() -> None:
    store = SimpleKVStore()

    other: dict[str, Any] = {"dim": 32, "instruction": "Find code", "max_length": 100}
    for fields in ({}, other):
        model = adapter(store, **fields)
        model.get_query_embedding("a")
        model.get_text_embedding("a")

    assert [*store.get_all("embeddings")] == [
        "query:f0b203fbb3430ba2:a",
        "document:e023df83cfa036ed:a",
        "query:0b071add20288e0b:a",
        "document:f16ff70b44c542da:a",
    ]


def test_the_number_format_and_further_arguments_are_part_of_the_key() -> None:
    store = SimpleKVStore()

    for fields in ({}, {"dtype": "bfloat16"}, {"model_kwargs": {"attn_implementation": "sdpa"}}):
        with Qwen3Embedding(model_name="tiny", embeddings_cache=store, **fields) as model:
            model.get_text_embedding("a")

    assert len(store.get_all("embeddings")) == 3


def test_a_store_assigned_later_is_kept_apart_too() -> None:
    model, store = adapter(None), SimpleKVStore()
    model.embeddings_cache = store

    document, query = model.get_text_embedding("a"), model.get_query_embedding("a")

    assert document != query
    cache: Any = model.embeddings_cache  # no longer what was assigned
    assert cache.store is store


def test_foreign_entries_are_neither_read_nor_overwritten() -> None:
    store = SimpleKVStore()
    store.put("a", {"other": [1.0, 2.0]}, collection="embeddings")

    vectors(adapter(store), "sync")
    vectors(adapter(store), "async")

    assert store.get("a", collection="embeddings") == {"other": [1.0, 2.0]}


def test_entries_have_llamaindex_s_form_and_can_be_inspected_and_deleted() -> None:
    store = SimpleKVStore()
    model = adapter(store)
    vector = model.get_text_embedding("a")
    cache: Any = model.embeddings_cache

    [(key, value)] = cache.get_all("embeddings").items()
    assert key.startswith("document:")
    assert key.endswith(":a")
    assert list(value.values()) == [vector]
    assert asyncio.run(cache.aget_all("embeddings")) == {key: value}
    assert cache.delete(key, "embeddings")
    assert not asyncio.run(cache.adelete(key, "embeddings"))


def test_the_cache_survives_a_pickle_and_copies_share_it() -> None:
    store = SimpleKVStore()
    model = Qwen3Embedding(model_name="tiny", embeddings_cache=store)
    vector = model.get_text_embedding("a")

    again = pickle.loads(pickle.dumps(model))

    assert isinstance(again.embeddings_cache, SeparateCache)
    assert again.embeddings_cache.get_all("embeddings") == store.get_all("embeddings")
    assert again.get_text_embedding("a") == vector
    copied: Any = model.model_copy(deep=True).embeddings_cache
    assert copied.store is store
    again.close()
    model.close()


def test_something_that_is_no_store_is_refused() -> None:
    with pytest.raises(TypeError, match="must be of type BaseKVStore"):
        Qwen3Embedding(embeddings_cache={})  # type: ignore[arg-type]  # that is the point
