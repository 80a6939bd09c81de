"""A collection is used with the model and encoder it was filled with, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qwen3_rag import Qwen3Embedder, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.lexical import _encoder as encoder
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend

MakeSearcher = Callable[..., HybridSearcher]


def other_model() -> dict[str, Any]:
    backend = DeterministicBackend("embedding", 64)
    return {"embedder": Qwen3Embedder("test/other", backend=backend)}


def shorter() -> dict[str, Any]:
    backend = TextBackend("embedding", 64)
    return {"embedder": Qwen3Embedder("test/embedder", dim=48, backend=backend)}


def other_length() -> dict[str, Any]:
    return {"encoder": BM25Encoder(avg_len=100)}


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        (other_model, "model", "'text-embedding'.*not of 'deterministic-embedding'.*new coll"),
        (shorter, "dim", r"64 numbers, and the embedder gives 48.*dim=64"),
        (other_length, "encoder", r"avg_len 256.0.*100.*BM25Encoder\(avg_len=256.0\)"),
    ],
)
def test_a_collection_of_something_else_is_refused_before_anything_is_written(
    make: MakeSearcher, settings: Callable[[], dict[str, Any]], code: str, message: str
) -> None:
    make().create()
    make().add([Document("a", "text")])
    other = make(**settings())

    for call in (
        lambda: other.add([Document("b", "text")]),
        lambda: other.search("text"),
        other.create,
    ):
        with pytest.raises(StoreError, match=message):
            call()

    assert code in [finding.code for finding in other.check_collection()]
    assert make().count() == 1
    assert make().check_collection() == []


def test_a_later_encoder_is_refused(make: MakeSearcher, monkeypatch: pytest.MonkeyPatch) -> None:
    make().create()
    monkeypatch.setattr(encoder, "ENCODER_VERSION", encoder.ENCODER_VERSION + 1)

    with pytest.raises(StoreError, match=r"encoder_version 1, and this one has 2.*add the doc"):
        make().search("x")


def test_several_mismatches_are_all_named(make: MakeSearcher) -> None:
    make().create()

    findings = make(**other_length(), **shorter()).check_collection()

    assert {finding.code for finding in findings} == {"model", "dim", "encoder"} - {"model"}
    assert all(finding.severity == "error" and finding.remedy for finding in findings)


def test_making_it_again_keeps_everything(make: MakeSearcher) -> None:
    searcher = make()
    searcher.create(fields={"path": "keyword"})
    searcher.add([Document("a", "text", {"path": "x"})])

    searcher.create()
    searcher.create(fields={"year": "integer"})

    assert searcher.count() == 1
    recorded = searcher.legs.settings()
    assert recorded is not None
    assert recorded.fields == {"path": "keyword", "year": "integer"}
    with pytest.raises(StoreError, match="field 'year' as 'integer', not 'keyword'"):
        searcher.create(fields={"year": "keyword"})


@pytest.mark.parametrize("fields", [{"path": "string"}, {1: "keyword"}, {"": "text"}, ["path"]])
def test_fields_of_no_type_are_refused(make: MakeSearcher, fields: Any) -> None:
    with pytest.raises(ValueError, match=r"keyword|field"):
        make().create(fields=fields)


@pytest.mark.parametrize(
    "kind", ["keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo"]
)
def test_every_type_of_field_can_be_declared(make: MakeSearcher, kind: str) -> None:
    searcher = make()

    searcher.create(fields={"field": kind})

    assert searcher.check_collection() == []
