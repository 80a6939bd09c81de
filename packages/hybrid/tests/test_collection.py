"""A collection is used with the model and encoder it was filled with, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from qwen3_rag import Qwen3Embedder, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import CollectionRecord, Document, HybridSearcher
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import make_embedder

MakeSearcher = Callable[..., HybridSearcher]


@pytest.mark.parametrize(
    ("values", "format"),
    [
        ({}, 2),
        ({"tenants": True}, 3),
        ({"short_dim": 32}, 4),
        ({"tenants": True, "short_dim": 32}, 4),
    ],
)
def test_a_record_is_new_to_earlier_releases_only_if_they_cannot_use_the_collection(
    values: dict[str, Any], format: int
) -> None:
    record = replace(CollectionRecord("model", "print", 64, BM25Encoder().parameters), **values)

    written = record.as_dict()

    assert written["format"] == format
    assert {name: written[name] for name in ("tenants", "short_dim") if name in written} == values
    assert CollectionRecord.from_dict(written) == record


@pytest.mark.parametrize(
    ("differences", "reason"),
    [
        ({"encoder_version": 99}, r"encoder_version 99, and this one has.*Update qwen3-rag\."),
        (
            {"encoder_version": 1, "snowball": None},
            "encoder_version 1, and this one has.*renew_bm25",
        ),
        ({"snowball": "3.0"}, r"snowball 3\.0, and this one has.*renew_bm25"),
    ],
)
def test_other_terms_are_refused_once_with_the_remedy(
    differences: dict[str, Any], reason: str
) -> None:
    store = MemoryStore()
    encoder = {**BM25Encoder().parameters, **differences}
    encoder = {name: value for name, value in encoder.items() if value is not None}
    store.create(CollectionRecord("text-embedding", "text-embedding-64", 64, encoder))

    with HybridSearcher(store, make_embedder()) as searcher:
        [finding] = searcher.check_collection()
        with pytest.raises(StoreError, match=reason):
            searcher.search("x")

    assert finding.code == "encoder"


@pytest.mark.parametrize(
    ("model", "fingerprint", "codes"),
    [
        ("text-embedding", "name:text-embedding", []),
        ("another", "name:another", ["model"]),
        ("another", "text-embedding-64", []),
        ("text-embedding", "abcd", ["model"]),
    ],
)
def test_a_model_whose_content_is_not_known_is_told_by_its_name(
    model: str, fingerprint: str, codes: list[str]
) -> None:
    store = MemoryStore()
    store.create(CollectionRecord(model, fingerprint, 64, BM25Encoder().parameters))

    with HybridSearcher(store, make_embedder()) as searcher:
        assert [finding.code for finding in searcher.check_collection()] == codes


def test_several_mismatches_are_all_named(make: MakeSearcher) -> None:
    make().create()
    backend = TextBackend("embedding", 64)
    shorter = Qwen3Embedder("test/embedder", dim=48, backend=backend)

    findings = make(embedder=shorter, encoder=BM25Encoder(avg_len=100)).check_collection()

    assert {finding.code for finding in findings} == {"dim", "encoder"}
    assert all(finding.severity == "error" and finding.remedy for finding in findings)


def test_a_collection_without_a_record_is_not_searched() -> None:
    database: dict[str, Any] = {}
    store = MemoryStore(database)
    with HybridSearcher(store, make_embedder()) as searcher:
        searcher.create()
        searcher.add([Document("a", "text")])
        database["documents"].record = None

        for call in (lambda: searcher.add([Document("b", "x")]), searcher.create):
            with pytest.raises(StoreError, match="no record"):
                call()
        assert [finding.code for finding in searcher.check_collection()] == ["record"]
        searcher.create(adopt=True)
        assert searcher.check_collection() == []


@pytest.mark.parametrize("fields", [{"path": "string"}, {1: "keyword"}, {"": "text"}, ["path"]])
def test_fields_of_no_type_are_refused(make: MakeSearcher, fields: Any) -> None:
    with pytest.raises(ValueError, match=r"keyword|field"):
        make().create(fields=fields)


@pytest.mark.parametrize("batch_size", [0, None, "8"])
def test_a_batch_size_that_is_no_count_is_refused(make: MakeSearcher, batch_size: Any) -> None:
    with pytest.raises(ValueError, match="`batch_size` must be"):
        make().add([Document("a", "text")], batch_size=batch_size)
