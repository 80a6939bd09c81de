"""Vectors through LangChain are the core's; cache keys keep settings apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.stores import InMemoryByteStore

import qwen3_rag_tiny
from langchain_qwen3_rag import Qwen3Embeddings
from qwen3_rag import InputError, InputTypeError, ModelError, Qwen3Embedder
from qwen3_rag.backends import Backend, Role
from qwen3_rag.integration import adapter_options, local_options
from qwen3_rag_testkit.backends import DeterministicBackend, RunningDeterministic
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import keeps_ticking

QUERY = "where is\nthe 首都?"


def test_vectors_are_the_cores_to_the_bit(
    embedder: Qwen3Embedder, embeddings: Qwen3Embeddings
) -> None:
    assert embeddings.embed_documents(TEXTS) == embedder.embed_documents(TEXTS).tolist()
    assert [embeddings.embed_query(QUERY)] == embedder.embed_queries([QUERY]).tolist()


def test_vectors_of_the_trained_model_are_the_cores(tiny_embeddings: Qwen3Embeddings) -> None:
    with Qwen3Embedder("tiny") as embedder:
        np.testing.assert_allclose(
            tiny_embeddings.embed_documents(TEXTS), embedder.embed_documents(TEXTS), atol=1e-5
        )
        np.testing.assert_allclose(
            tiny_embeddings.embed_query(QUERY), embedder.embed_queries([QUERY])[0], atol=1e-5
        )


def test_vectors_are_lists_of_floats(embeddings: Qwen3Embeddings) -> None:
    documents = embeddings.embed_documents(["a", "b"])
    query = embeddings.embed_query("a")

    assert [type(number) for number in query] == [float] * 64
    assert all(type(vector) is list and type(vector[0]) is float for vector in documents)


def test_a_query_gets_its_instruction_and_a_document_none(embedder: Qwen3Embedder) -> None:
    plain = Qwen3Embeddings.from_embedder(embedder)
    code = Qwen3Embeddings.from_embedder(embedder, instruction="Find code")

    assert plain.embed_query("a") != plain.embed_documents(["a"])[0]
    assert plain.embed_query("a") != code.embed_query("a")
    assert plain.embed_documents(["a"]) == code.embed_documents(["a"])
    assert [code.embed_query("a")] == embedder.embed_queries(
        ["a"], instruction="Find code"
    ).tolist()


def test_every_newline_and_accent_counts(embeddings: Qwen3Embeddings) -> None:
    texts = ["a b", "a\nb", "a\n b", "\u00e1 b", "a\u0301 b", " a b", "a b "]

    vectors = embeddings.embed_documents(texts)
    queries = [embeddings.embed_query(text) for text in texts]

    assert len({tuple(vector) for vector in vectors + queries}) == 14


async def test_async_equals_sync(embeddings: Qwen3Embeddings) -> None:
    many = TEXTS * 30

    assert await embeddings.aembed_documents(many) == embeddings.embed_documents(many)
    assert await embeddings.aembed_query(QUERY) == embeddings.embed_query(QUERY)


def test_one_by_one_equals_all_at_once(embeddings: Qwen3Embeddings) -> None:
    assert embeddings.embed_documents(TEXTS) == [
        embeddings.embed_documents([text])[0] for text in TEXTS
    ]


async def test_the_event_loop_keeps_ticking(slow_embeddings: Qwen3Embeddings) -> None:
    vectors = await keeps_ticking(slow_embeddings.aembed_documents(TEXTS * 500))
    vector = await keeps_ticking(slow_embeddings.aembed_query(QUERY))

    assert vectors[: len(TEXTS)] == slow_embeddings.embed_documents(TEXTS)
    assert vector == slow_embeddings.embed_query(QUERY)


async def test_nothing_in_nothing_out_and_no_model_opened() -> None:
    embeddings = Qwen3Embeddings(model="no/such-model", local_files_only=True)

    assert embeddings.embed_documents([]) == []
    assert await embeddings.aembed_documents([]) == []
    with pytest.raises(ModelError, match="no/such-model"):
        embeddings.embed_documents(["a"])


def test_inputs_are_not_changed(embeddings: Qwen3Embeddings) -> None:
    texts = list(TEXTS)

    embeddings.embed_documents(texts)

    assert texts == TEXTS


def test_bad_texts_are_the_cores_own_errors(embeddings: Qwen3Embeddings) -> None:
    with pytest.raises(InputError, match="empty or only white space"):
        embeddings.embed_query(" ")
    with pytest.raises(InputTypeError, match="Put it in a list"):
        embeddings.embed_documents("a text")  # type: ignore[arg-type]  # the mistake


def test_shorter_vectors_are_normalised(tiny_embeddings: Qwen3Embeddings) -> None:
    with Qwen3Embeddings(model="tiny", dim=32) as short:
        vector = np.asarray(short.embed_query(QUERY))
    beginning = np.asarray(tiny_embeddings.embed_query(QUERY))[:32]

    np.testing.assert_allclose(vector, beginning / np.linalg.norm(beginning), atol=1e-5)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


# What each field may become, and whether vectors, so keys, become others with it.
CHANGES: dict[str, tuple[Any, bool]] = {
    "model": ("some/other", True),
    "dim": (64, True),
    "instruction": ("Find code", True),
    "query_template": ("query: {text}", True),
    "document_prefix": ("passage: ", True),
    "max_length": (512, True),
    "backend": (DeterministicBackend(), True),
    "revision": ("main", True),
    "dtype": ("bfloat16", True),
    "model_kwargs": ({"quantization_config": {"bits": 4}}, True),
    "device": ("cpu", False),
    "attention": ("eager", False),
    "batch_tokens": (1_000, False),
    "compile": (True, False),
    "cache_folder": ("elsewhere", False),
    "local_files_only": (True, False),
    "token": ("hf_secret", False),
    "cache": ("vectors.cache", False),
}


def test_every_setting_that_changes_vectors_changes_the_cache_namespace() -> None:
    namespace = Qwen3Embeddings().cache_namespace

    # Those of a server are tried with one, in test_server.py.
    server = {"base_url", "api_key", *adapter_options()} - set(local_options())
    assert set(CHANGES) == set(Qwen3Embeddings.model_fields) - server
    for name, (value, changes) in CHANGES.items():
        settings: dict[str, Any] = {name: value}
        other = Qwen3Embeddings(**settings).cache_namespace
        assert (other != namespace) == changes, name
    assert Qwen3Embeddings().cache_namespace == namespace


def test_the_cache_namespace_of_a_configuration_never_changes() -> None:
    """Users have caches under these names."""
    assert (
        Qwen3Embeddings().cache_namespace
        == "Qwen3-Embedding-0.6B-d0ade8832072be9d1dc24189d8f144be/"
    )
    everything = Qwen3Embeddings(
        model="Qwen/Qwen3-Embedding-4B",
        dim=512,
        instruction="Find code",
        max_length=512,
        revision="main",
        dtype="float32",
        model_kwargs={"quantization_config": {"bits": 4}, "a": [1, 2]},
        device="cpu",
        token="hf_secret",
    )
    assert everything.cache_namespace == "Qwen3-Embedding-4B-34f095a9d5abbfbad90645144714860d/"


def test_the_pinned_revision_is_part_of_the_namespace() -> None:
    from qwen3_rag.integration import PUBLISHED

    pinned = PUBLISHED["Qwen/Qwen3-Embedding-0.6B"].revision

    assert Qwen3Embeddings(revision=pinned).cache_namespace == Qwen3Embeddings().cache_namespace


def test_backends_are_told_apart_by_their_specification_and_by_their_fingerprint() -> None:
    weights = {"dim": 64}

    @dataclass(frozen=True)
    class Served(DeterministicBackend):
        dialect: str = "one"

        def start(self, model: str, role: Role) -> Backend:
            return RunningDeterministic(role, weights["dim"])

    def space(dialect: str) -> str:
        return Qwen3Embeddings(model="my/model", backend=Served(dialect=dialect)).cache_namespace

    before = space("one"), space("two")
    weights["dim"] = 32

    assert len({*before, space("one"), space("two")}) == 4
    assert space("one") == space("one")


def test_a_loaded_model_is_told_apart_by_its_fingerprint() -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = qwen3_rag_tiny.embedding_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    spaces = []
    for scale in (1, 1, 2):
        model = AutoModel.from_pretrained(folder, dtype="float32")
        model.norm.weight.data *= scale
        with Qwen3Embeddings.from_embedder(Qwen3Embedder.from_model(model, tokenizer)) as one:
            spaces.append(one.cache_namespace)

    assert spaces[0] == spaces[1] != spaces[2]


@pytest.mark.parametrize(
    "model", ["modelscope:some/model", "/tmp/a b/モデル", "C:\\my\\model", ".."]
)
def test_any_models_namespace_suits_a_store_of_files(model: str, tmp_path: Path) -> None:
    store = LocalFileStore(tmp_path)
    key = Qwen3Embeddings(model=model).cache_namespace + "0123"

    store.mset([(key, b"vector")])

    assert store.mget([key]) == [b"vector"]


async def test_a_cache_keeps_queries_and_documents_apart(embeddings: Qwen3Embeddings) -> None:
    documents, queries = InMemoryByteStore(), InMemoryByteStore()
    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        documents,
        namespace=embeddings.cache_namespace,
        query_embedding_cache=queries,
        key_encoder="sha256",
    )

    for _ in range(2):  # the second time from the stores
        assert cached.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)
        assert cached.embed_query(TEXTS[1]) == embeddings.embed_query(TEXTS[1])
        assert await cached.aembed_query(TEXTS[1]) == embeddings.embed_query(TEXTS[1])
    [key] = queries.yield_keys()
    assert key.startswith(embeddings.cache_namespace)
    assert len(list(documents.yield_keys())) == len(set(TEXTS))


def test_two_settings_share_a_store_without_mixing(embedder: Qwen3Embedder) -> None:
    store = InMemoryByteStore()

    def cached(instruction: str) -> CacheBackedEmbeddings:
        embeddings = Qwen3Embeddings.from_embedder(embedder, instruction=instruction)
        return CacheBackedEmbeddings.from_bytes_store(
            embeddings,
            InMemoryByteStore(),
            namespace=embeddings.cache_namespace,
            query_embedding_cache=store,
            key_encoder="sha256",
        )

    assert cached("Find text").embed_query("a") != cached("Find code").embed_query("a")
