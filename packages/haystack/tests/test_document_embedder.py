"""`Qwen3DocumentEmbedder`: what a pipeline gets for documents."""

from __future__ import annotations

import copy
import io
import sys
import warnings

import numpy as np
import pytest
from haystack import Document

from haystack_integrations.components.embedders.qwen3_rag import (
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from qwen3_rag import InputTypeError, Qwen3Embedder
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking


def test_vectors_are_the_cores_bit_for_bit(embedder: Qwen3Embedder) -> None:
    component = Qwen3DocumentEmbedder.from_embedder(embedder)

    embedded = component.run([Document(content=text) for text in TEXTS])["documents"]

    assert [document.content for document in embedded] == TEXTS
    for document, expected in zip(embedded, embedder.embed_documents(TEXTS), strict=True):
        assert document.embedding == expected.tolist()
        assert all(type(number) is float for number in document.embedding)


def test_vectors_are_the_cores_on_a_trained_model(documents: list[Document]) -> None:
    with Qwen3Embedder("tiny", dim=64) as embedder:
        expected = embedder.embed_documents([document.content or "" for document in documents])

    component = Qwen3DocumentEmbedder("tiny", dim=64)
    embedded = component.run(documents)["documents"]

    np.testing.assert_allclose([document.embedding for document in embedded], expected, atol=1e-5)
    component.close()


def test_a_query_has_another_vector_than_a_document(embedder: Qwen3Embedder) -> None:
    text = "what is the capital of France"
    [document] = Qwen3DocumentEmbedder.from_embedder(embedder).run([Document(content=text)])[
        "documents"
    ]

    query = Qwen3TextEmbedder.from_embedder(embedder).run(text)["embedding"]

    assert document.embedding != query


def test_an_embedders_instruction_does_not_reach_documents(documents: list[Document]) -> None:
    plain, instructed = (
        Qwen3DocumentEmbedder.from_embedder(
            Qwen3Embedder("m/e", instruction=instruction, backend=DeterministicBackend("embedding"))
        ).run(documents)["documents"]
        for instruction in ("Find passages", "Find laws")
    )

    assert [document.embedding for document in plain] == [
        document.embedding for document in instructed
    ]


def test_one_by_one_is_all_at_once(embedder: Qwen3Embedder, documents: list[Document]) -> None:
    component = Qwen3DocumentEmbedder.from_embedder(embedder)

    together = component.run(documents)["documents"]

    assert [component.run([document])["documents"][0] for document in documents] == together


def test_documents_are_copied_and_otherwise_kept(
    embedder: Qwen3Embedder, documents: list[Document]
) -> None:
    component = Qwen3DocumentEmbedder.from_embedder(embedder, meta_fields_to_embed=["country"])
    before = copy.deepcopy(documents)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Haystack warns of changes in place
        embedded = component.run(documents)["documents"]

    assert documents == before
    for old, new in zip(documents, embedded, strict=True):
        assert new is not old
        assert (new.id, new.content, new.meta, new.score) == (
            old.id,
            old.content,
            old.meta,
            old.score,
        )


def test_metadata_goes_before_the_content_in_the_order_asked_for(embedder: Qwen3Embedder) -> None:
    component = Qwen3DocumentEmbedder.from_embedder(
        embedder,
        meta_fields_to_embed=["title", "page", "absent", "none"],
        embedding_separator=" | ",
    )
    meta = {"page": 0, "title": "Atlas", "none": None, "other": "x"}
    cases = [Document(content="Paris", meta=meta), Document(meta={"title": "", "page": False})]

    embedded = component.run(cases)["documents"]

    expected = embedder.embed_documents(["Atlas | 0 | Paris", " | False | "])
    assert [document.embedding for document in embedded] == expected.tolist()


def test_a_document_without_content_counts_as_empty(embedder: Qwen3Embedder) -> None:
    [document] = Qwen3DocumentEmbedder.from_embedder(embedder).run([Document(id="blob")])[
        "documents"
    ]

    assert document.content is None
    assert document.embedding == embedder.embed_documents([""])[0].tolist()


def test_no_documents_need_no_model() -> None:
    component = Qwen3DocumentEmbedder("/nowhere")

    assert component.run([]) == {
        "documents": [],
        "meta": {"model": "/nowhere", "tokens": 0, "cut_at": {}},
    }


def test_cut_documents_are_reported_by_id() -> None:
    component = Qwen3DocumentEmbedder("m/e", max_length=64, backend=DeterministicBackend())

    meta = component.run([Document(id="long", content="x" * 99), Document(content="abc")])["meta"]

    assert meta == {"model": "m/e", "tokens": 63 + 1 + 3 + 1, "cut_at": {"long": 63}}


async def test_async_is_sync(embedder: Qwen3Embedder, documents: list[Document]) -> None:
    component = Qwen3DocumentEmbedder.from_embedder(embedder)

    assert await component.run_async(documents) == component.run(documents)
    assert await component.run_async([]) == component.run([])


async def test_the_event_loop_keeps_ticking(documents: list[Document]) -> None:
    component = Qwen3DocumentEmbedder("m", backend=SlowBackend())

    await keeps_ticking(component.run_async(documents))

    component.close()


@pytest.mark.parametrize("wrong", ["a text", [Document(content="a"), "a text"], None])
def test_anything_else_is_sent_to_the_other_embedder(
    embedder: Qwen3Embedder, wrong: object
) -> None:
    component = Qwen3DocumentEmbedder.from_embedder(embedder)

    with pytest.raises(TypeError, match=r"list of Haystack Documents, got .*Qwen3TextEmbedder"):
        component.run(wrong)  # type: ignore[arg-type]  # what is tested


def test_one_field_name_must_be_in_a_list() -> None:
    with pytest.raises(InputTypeError, match="`meta_fields_to_embed` must be a list"):
        Qwen3DocumentEmbedder(meta_fields_to_embed="title")


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_can_be_left_out(shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    component = Qwen3DocumentEmbedder("m", backend=DeterministicBackend(), progress_bar=shown)

    component.run([Document(content="a")])

    assert ("Embedding:" in terminal.getvalue()) is shown
