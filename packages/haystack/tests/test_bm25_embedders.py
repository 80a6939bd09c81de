"""The BM25 embedders: the core's terms in Haystack's sparse vectors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from haystack import Document

from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
)
from qwen3_rag import InputError
from qwen3_rag.lexical import BM25Encoder


def test_a_query_has_the_cores_terms() -> None:
    expected = BM25Encoder().encode_query("the capital of 日本")

    sparse = BM25SparseTextEmbedder().run("the capital of 日本")["sparse_embedding"]

    assert sparse.indices == expected.indices.tolist()
    assert sparse.values == expected.values.tolist()
    assert type(sparse.indices[0]) is int
    assert type(sparse.values[0]) is float


def test_a_query_without_terms_has_an_empty_vector() -> None:
    assert BM25SparseTextEmbedder().run("?!")["sparse_embedding"].indices == []


def test_documents_have_the_cores_weights(documents: list[Document]) -> None:
    settings: dict[str, Any] = {"k1": 0.9, "b": 0.4, "avg_len": 20.0}
    encoder = BM25Encoder(**settings)

    embedded = BM25SparseDocumentEmbedder(**settings).run(documents)["documents"]

    for document in embedded:
        expected = encoder.encode_document(document.content or "")
        if len(expected):
            assert document.sparse_embedding is not None
            assert document.sparse_embedding.indices == expected.indices.tolist()
            assert document.sparse_embedding.values == expected.values.tolist()
        else:
            assert document.sparse_embedding is None
    assert any(document.sparse_embedding is None for document in embedded)


def test_metadata_counts_if_wanted() -> None:
    document = Document(content="Paris", meta={"title": "Atlas"})

    [plain] = BM25SparseDocumentEmbedder().run([document])["documents"]
    [titled] = BM25SparseDocumentEmbedder(
        meta_fields_to_embed=["title"], embedding_separator=" "
    ).run([document])["documents"]
    [together] = BM25SparseDocumentEmbedder().run([Document(content="Atlas Paris")])["documents"]

    assert titled.sparse_embedding == together.sparse_embedding != plain.sparse_embedding


def test_documents_are_copied_and_otherwise_kept(documents: list[Document]) -> None:
    before = copy.deepcopy(documents)

    embedded = BM25SparseDocumentEmbedder().run(documents)["documents"]

    assert documents == before
    assert [document.id for document in embedded] == [document.id for document in documents]


def test_no_documents_give_none() -> None:
    assert BM25SparseDocumentEmbedder().run([]) == {"documents": []}


def test_each_sends_to_the_other() -> None:
    with pytest.raises(TypeError, match="BM25SparseDocumentEmbedder"):
        BM25SparseTextEmbedder().run([Document(content="a")])  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="BM25SparseTextEmbedder"):
        BM25SparseDocumentEmbedder().run("a")  # type: ignore[arg-type]  # what is tested


def test_a_wrong_setting_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="`b` must be between"):
        BM25SparseDocumentEmbedder(b=2)
