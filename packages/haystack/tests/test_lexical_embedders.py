"""The lexical embedders: the core's terms in Haystack's sparse vectors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from haystack import Document

from haystack_integrations.components.embedders.qwen3_rag import (
    LexicalSparseDocumentEmbedder,
    LexicalSparseTextEmbedder,
)
from qwen3_rag import InputError
from qwen3_rag.lexical import LexicalEncoder


def test_a_query_has_the_cores_terms() -> None:
    expected = LexicalEncoder().encode_query("the capital of 日本")

    sparse = LexicalSparseTextEmbedder().run("the capital of 日本")["sparse_embedding"]

    assert sparse.indices == expected.indices.tolist()
    assert sparse.values == expected.values.tolist()
    assert type(sparse.indices[0]) is int
    assert type(sparse.values[0]) is float


def test_a_query_without_terms_has_an_empty_vector() -> None:
    assert LexicalSparseTextEmbedder().run("?!")["sparse_embedding"].indices == []


def test_documents_have_the_cores_weights(documents: list[Document]) -> None:
    settings: dict[str, Any] = {"k1": 0.9, "b": 0.4, "avg_len": 20.0}
    encoder = LexicalEncoder(**settings)

    embedded = LexicalSparseDocumentEmbedder(**settings).run(documents)["documents"]

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

    [plain] = LexicalSparseDocumentEmbedder().run([document])["documents"]
    [titled] = LexicalSparseDocumentEmbedder(
        meta_fields_to_embed=["title"], embedding_separator=" "
    ).run([document])["documents"]
    [together] = LexicalSparseDocumentEmbedder().run([Document(content="Atlas Paris")])["documents"]

    assert titled.sparse_embedding == together.sparse_embedding != plain.sparse_embedding


def test_documents_are_copied_and_otherwise_kept(documents: list[Document]) -> None:
    before = copy.deepcopy(documents)

    embedded = LexicalSparseDocumentEmbedder().run(documents)["documents"]

    assert documents == before
    assert [document.id for document in embedded] == [document.id for document in documents]


def test_no_documents_give_none() -> None:
    assert LexicalSparseDocumentEmbedder().run([]) == {"documents": []}


def test_each_sends_to_the_other() -> None:
    with pytest.raises(TypeError, match="LexicalSparseDocumentEmbedder"):
        LexicalSparseTextEmbedder().run([Document(content="a")])  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="LexicalSparseTextEmbedder"):
        LexicalSparseDocumentEmbedder().run("a")  # type: ignore[arg-type]  # what is tested


def test_a_wrong_setting_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="`b` must be between"):
        LexicalSparseDocumentEmbedder(b=2)
