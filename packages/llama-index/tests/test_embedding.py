"""What an index sees of `Qwen3Embedding`: the core's vectors, whatever the way."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.llama_debug import LlamaDebugHandler
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import SecretStr

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from qwen3_rag import InputError, Qwen3Embedder
from qwen3_rag_testkit.backends import CountingBackend, DeterministicBackend
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking


def core(**settings: Any) -> Qwen3Embedder:
    return Qwen3Embedder("test/embedder", backend=DeterministicBackend("embedding"), **settings)


def adapter(embedder: Qwen3Embedder | None = None, **fields: Any) -> Qwen3Embedding:
    return Qwen3Embedding.from_embedder(embedder or core(), **fields)


def every_way(model: BaseEmbedding, text: str) -> dict[str, list[list[float]]]:
    """One text's document and query vectors by all of LlamaIndex's methods."""

    async def awaited() -> tuple[list[list[float]], list[list[float]]]:
        return (
            [
                await model.aget_text_embedding(text),
                (await model.aget_text_embedding_batch(["other", text]))[1],
                (await model.acall([TextNode(text=text)]))[0].get_embedding(),
            ],
            [
                await model.aget_query_embedding(text),
                await model.aget_agg_embedding_from_queries([text]),
            ],
        )

    documents, queries = asyncio.run(awaited())
    documents += [
        model.get_text_embedding(text),
        model.get_text_embedding_batch(["other", text])[1],
        model([TextNode(text=text)])[0].get_embedding(),
    ]
    queries += [model.get_query_embedding(text), model.get_agg_embedding_from_queries([text])]
    return {"documents": documents, "queries": queries}


@pytest.mark.parametrize("text", TEXTS)
def test_every_method_gives_the_bits_of_the_core(text: str) -> None:
    if not text.strip():
        pytest.skip("no query can be made of it")
    ways = every_way(adapter(), text)

    [document] = core().embed_documents([text]).tolist()
    [query] = core().embed_queries([text]).tolist()
    assert ways["documents"] == [document] * 6
    assert ways["queries"] == [query] * 4
    assert document != query


def test_the_small_pair_gives_the_core_s_vectors() -> None:
    with Qwen3Embedding(model_name="tiny", dim=64) as model:
        ways = every_way(model, "Zeile eins\nZeile zwei: café")

    with Qwen3Embedder("tiny", dim=64) as embedder:
        document = embedder.embed_documents(["Zeile eins\nZeile zwei: café"])
        query = embedder.embed_queries(["Zeile eins\nZeile zwei: café"])
    np.testing.assert_allclose(ways["documents"], document.repeat(6, axis=0), atol=1e-5)
    np.testing.assert_allclose(ways["queries"], query.repeat(4, axis=0), atol=1e-5)


def test_numbers_are_python_floats_of_unit_length() -> None:
    for vector in (adapter().get_query_embedding("a"), adapter().get_text_embedding("a")):
        assert all(type(number) is float for number in vector)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_no_texts_give_no_vectors() -> None:
    assert adapter().get_text_embedding_batch([]) == []
    assert asyncio.run(adapter().aget_text_embedding_batch([])) == []
    assert adapter()([]) == []


def test_order_is_kept_over_batches() -> None:
    texts = [f"text {i}" for i in range(50)]
    expected = core().embed_documents(texts).tolist()
    model = adapter(embed_batch_size=7)

    assert model.get_text_embedding_batch(texts) == expected
    assert asyncio.run(model.aget_text_embedding_batch(texts)) == expected


def test_the_core_gets_whole_batches() -> None:
    backend = CountingBackend("whole batches")
    model = Qwen3Embedding(model_name="mine", backend=backend)

    model.get_text_embedding_batch(["a"] * 2_000)
    asyncio.run(model.aget_text_embedding_batch(["a"] * 2_000))

    assert [len(run) for run in backend.uses.runs] == [2_000, 2_000]


def test_the_instruction_goes_with_queries_alone() -> None:
    model = adapter(core(instruction="Find code"))

    [expected] = core().embed_queries(["a"], instruction="Find code").tolist()
    assert model.get_query_embedding("a") == expected
    assert model.get_query_embedding("a") != adapter().get_query_embedding("a")
    assert model.get_text_embedding("a") == adapter().get_text_embedding("a")


def test_short_vectors_are_normalised_anew() -> None:
    full = np.asarray(adapter().get_text_embedding("a"))[:32]

    short = adapter(core(dim=32)).get_text_embedding("a")

    np.testing.assert_allclose(short, full / np.linalg.norm(full), atol=1e-6)


def test_nodes_are_embedded_with_the_metadata_llamaindex_chooses() -> None:
    node = TextNode(
        text="line one\nline two",
        metadata={"path": "a.md", "secret": "x"},
        excluded_embed_metadata_keys=["secret"],
    )
    [expected] = core().embed_documents(["path: a.md\n\nline one\nline two"]).tolist()

    [embedded] = adapter()([node])

    assert embedded.get_content(metadata_mode=MetadataMode.EMBED) == (
        "path: a.md\n\nline one\nline two"
    )
    assert embedded.embedding == expected


def test_texts_given_are_not_changed() -> None:
    texts = list(TEXTS)

    adapter().get_text_embedding_batch(texts)

    assert texts == TEXTS


def test_a_blank_query_is_refused() -> None:
    with pytest.raises(InputError, match="empty or only white space"):
        adapter().get_query_embedding(" \n")


@pytest.mark.parametrize("cache", [None, SimpleKVStore()])
def test_the_event_loop_keeps_ticking(cache: SimpleKVStore | None) -> None:
    with Qwen3Embedding(model_name="slow", backend=SlowBackend(), embeddings_cache=cache) as model:
        asyncio.run(keeps_ticking(model.aget_text_embedding_batch(TEXTS)))
        asyncio.run(keeps_ticking(model.aget_query_embedding("a")))
        asyncio.run(keeps_ticking(model.acall([TextNode(text="b")])))


def test_observers_learn_the_settings_and_no_secret() -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    model = Qwen3Embedding(
        model_name="tiny",
        dim=32,
        token=SecretStr("hf_secret"),
        callback_manager=CallbackManager([debug]),
    )

    model.get_query_embedding("a")

    [[start, end]] = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert start.payload is not None
    assert end.payload is not None
    seen = start.payload[EventPayload.SERIALIZED]
    assert (seen["model_name"], seen["dim"], seen["instruction"]) == (
        "tiny",
        32,
        model.instruction,
    )
    assert model.to_payload().items() <= seen.items()
    assert "hf_secret" not in repr(model.to_payload()) + repr(seen)
    assert len(end.payload[EventPayload.EMBEDDINGS][0]) == 32
    model.close()


def test_it_is_an_embedding_model_by_name_and_kind() -> None:
    assert BaseEmbedding in Qwen3Embedding.__mro__
    assert Qwen3Embedding.class_name() == "Qwen3Embedding"
    assert Qwen3Embedding().embed_batch_size == 2048
