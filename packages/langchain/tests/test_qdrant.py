"""BM25 in langchain-qdrant, in local mode."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings
from qdrant_client import QdrantClient, models

from langchain_qwen3_rag import BM25SparseEmbeddings, Qwen3Embeddings
from qwen3_rag import InputError, InputTypeError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_testkit.contracts import TEXTS

CORPUS = [
    Document(page_content="The printer reports E_4711 when the tray is empty.", id="1"),
    Document(page_content="The printer is the printer that the office has.", id="2"),
    Document(page_content="The office is where the printer and the tray are.", id="3"),
    Document(page_content="東京は日本の首都です。", id="4"),
    Document(page_content="The office has a printer for the second floor.", id="5"),
    Document(page_content="Order toner.", id="6"),
]
IDS: list[Any] = [1, 2, 3, 4, 5, 6]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def fill(
    client: QdrantClient,
    embeddings: Qwen3Embeddings,
    mode: RetrievalMode,
    modifier: models.Modifier | None = models.Modifier.IDF,
) -> QdrantVectorStore:
    client.create_collection(
        "texts",
        vectors_config={"dense": models.VectorParams(size=256, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=modifier)},
    )
    store = QdrantVectorStore(
        client,
        "texts",
        embedding=embeddings,
        vector_name="dense",
        sparse_embedding=BM25SparseEmbeddings(),
        sparse_vector_name="bm25",
        retrieval_mode=mode,
    )
    store.add_documents(CORPUS, ids=IDS)
    return store


def test_vectors_are_the_encoders() -> None:
    sparse = BM25SparseEmbeddings(k1=1.5, b=0.5, avg_len=100)
    encoder = BM25Encoder(k1=1.5, b=0.5, avg_len=100)

    for text, vector in zip(TEXTS, sparse.embed_documents(TEXTS), strict=True):
        expected = encoder.encode_document(text)
        assert vector.indices == expected.indices.tolist()
        assert vector.values == expected.values.tolist()
    query = sparse.embed_query("c++ tokenizer")
    assert query.indices == encoder.encode_query("c++ tokenizer").indices.tolist()
    assert {type(index) for index in query.indices} == {int}
    assert {type(value) for value in query.values} == {float}


async def test_sparse_async_equals_sync() -> None:
    sparse = BM25SparseEmbeddings()

    assert isinstance(sparse, SparseEmbeddings)
    assert await sparse.aembed_documents(TEXTS) == sparse.embed_documents(TEXTS)
    assert await sparse.aembed_query("a b") == sparse.embed_query("a b")
    assert sparse.embed_documents([]) == []


def test_documents_and_queries_are_weighed_apart() -> None:
    sparse = BM25SparseEmbeddings()

    [document] = sparse.embed_documents(["disk disk full"])
    query = sparse.embed_query("disk disk full")

    assert document.indices == query.indices
    assert sorted(query.values) == [1.0, pytest.approx(2 * 9 / 10)]  # "disk" is asked for twice
    assert document.values != query.values


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_settings_are_checked_and_survive() -> None:
    settings = {"k1": 1.5, "b": 0.5, "avg_len": 100.0}
    sparse = BM25SparseEmbeddings(**settings)

    again = loads(
        dumps(sparse),
        allowed_objects=[BM25SparseEmbeddings],
        valid_namespaces=["langchain_qwen3_rag"],
    )

    assert set(settings) == set(BM25SparseEmbeddings.model_fields)
    assert again.model_dump() == settings
    assert pickle.loads(pickle.dumps(sparse)) == sparse
    assert BM25SparseEmbeddings().encoder == BM25Encoder()
    with pytest.raises(InputError, match="`b` must be between 0 and 1, got 2"):
        BM25SparseEmbeddings(b=2)
    with pytest.raises(InputTypeError):
        sparse.embed_query(None)  # type: ignore[arg-type]  # the mistake


# Written when the class had another name.
FORMER = (
    '{"lc": 1, "type": "constructor", "id": ["langchain_qwen3_rag", "qdrant", '
    '"LexicalSparseEmbeddings"], "kwargs": {"k1": 1.5, "b": 0.5, "avg_len": 100.0}}'
)


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_what_was_written_under_the_former_name_is_loaded() -> None:
    from langchain_qwen3_rag import LexicalSparseEmbeddings

    path = ("langchain_qwen3_rag", "qdrant")
    allowed: list[dict[str, Any]] = [
        {"allowed_objects": [LexicalSparseEmbeddings]},
        {
            "allowed_objects": [BM25SparseEmbeddings],
            "additional_import_mappings": {
                (*path, "LexicalSparseEmbeddings"): (*path, "BM25SparseEmbeddings")
            },
        },
    ]

    for more in allowed:
        loaded = loads(FORMER, valid_namespaces=["langchain_qwen3_rag"], **more)
        assert type(loaded) is BM25SparseEmbeddings
        assert loaded == BM25SparseEmbeddings(k1=1.5, b=0.5, avg_len=100)


def test_a_rare_word_decides_with_idf_and_not_without(
    text_embeddings: Qwen3Embeddings,
) -> None:
    query = "office printer toner"
    best = {}
    for modifier in (models.Modifier.IDF, None):
        client = QdrantClient(":memory:")
        store = fill(client, text_embeddings, RetrievalMode.SPARSE, modifier)
        best[modifier] = store.similarity_search(query, k=1)[0].metadata["_id"]
        client.close()

    assert best[models.Modifier.IDF] == 6
    assert best[None] != 6


async def test_hybrid_search_finds_by_meaning_and_by_words(
    client: QdrantClient, text_embeddings: Qwen3Embeddings
) -> None:
    store = fill(client, text_embeddings, RetrievalMode.HYBRID)

    by_word = store.similarity_search("E_4711", k=6)
    by_meaning = store.similarity_search("日本の首都", k=6)

    assert by_word[0].metadata["_id"] == 1
    assert by_meaning[0].metadata["_id"] == 4
    assert await store.asimilarity_search("E_4711", k=6) == by_word


def test_from_documents_creates_the_collection_with_idf(text_embeddings: Qwen3Embeddings) -> None:
    store = QdrantVectorStore.from_documents(
        CORPUS,
        text_embeddings,
        ids=IDS,
        location=":memory:",
        collection_name="texts",
        retrieval_mode=RetrievalMode.HYBRID,
        sparse_embedding=BM25SparseEmbeddings(),
        sparse_vector_params={"modifier": models.Modifier.IDF},
    )

    parameters = store.client.get_collection("texts").config.params.sparse_vectors
    assert parameters is not None
    assert parameters["langchain-sparse"].modifier == models.Modifier.IDF
    assert store.similarity_search("E_4711", k=1)[0].metadata["_id"] == 1
    store.client.close()
