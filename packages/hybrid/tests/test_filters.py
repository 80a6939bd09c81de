"""Filters of both kinds: which fields they ask for, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from qwen3_rag import InputError, InputTypeError
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore, QdrantStore
from qwen3_rag_hybrid.documents import Keys
from qwen3_rag_hybrid.stores.qdrant.filters import check_filter, fields_of, with_places
from qwen3_rag_testkit.store_corpus import make_embedder

GONE: tuple[dict[str, Any], ...] = (
    {"is_empty": models.PayloadField(key="gone")},
    {"key": "gone"},
)
LIKE_UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

CLIENT = models.Filter(
    must=[
        models.FieldCondition(key="path", match=models.MatchValue(value="a")),
        models.IsEmptyCondition(is_empty=models.PayloadField(key="gone")),
        models.IsNullCondition(is_null=models.PayloadField(key="nothing")),
        models.HasIdCondition(has_id=[1]),
    ],
    should=models.FieldCondition(key="single", match=models.MatchValue(value=1)),
    must_not=[
        models.Filter(must=[models.FieldCondition(key="inner.x", range=models.Range(gt=1))]),
        models.NestedCondition(
            nested=models.Nested(
                key="list",
                filter=models.Filter(
                    must=[models.FieldCondition(key="y", match=models.MatchValue(value=1))]
                ),
            )
        ),
    ],
    min_should=models.MinShould(
        conditions=[models.FieldCondition(key="few", match=models.MatchValue(value=1))],
        min_count=1,
    ),
)
EDGE = edge.Filter(
    must=[
        edge.FieldCondition(key="path", match=edge.MatchValue("a")),
        edge.IsEmptyCondition(key="gone"),
        edge.IsNullCondition(key="nothing"),
        edge.HasIdCondition({1}),
    ],
    should=[edge.FieldCondition(key="single", match=edge.MatchValue(1))],
    must_not=[
        edge.Filter(must=[edge.FieldCondition(key="inner.x", range=edge.RangeFloat(gt=1))]),
        edge.NestedCondition(
            key="list", filter=edge.Filter(must=[edge.FieldCondition("y", edge.MatchValue(1))])
        ),
    ],
    min_should=edge.MinShould([edge.FieldCondition("few", edge.MatchValue(1))], 1),
)


@pytest.mark.parametrize("filter", [CLIENT, EDGE])
def test_every_field_is_found_however_deep(filter: Any) -> None:
    assert list(fields_of(filter)) == [
        *("path", "gone", "nothing", "single", "inner.x", "list", "few")
    ]


def check(filter: Any, *fields: str) -> None:
    kind = edge.Filter if isinstance(filter, edge.Filter) else models.Filter
    check_filter(filter, kind, "the.Filter", dict.fromkeys(fields, "keyword"), Keys())


@pytest.mark.parametrize("filter", [CLIENT, EDGE])
def test_a_field_nobody_declared_is_named(filter: Any) -> None:
    known = ("path", "gone", "nothing", "single", "inner", "list", "few")
    check(filter, *known)
    check(filter)  # nothing declared: any field may be there

    with pytest.raises(InputError, match=r"'few' \(did you mean 'fewer'\?\).*'path'.*create"):
        check(filter, *known[:-1], "fewer")


def test_parts_of_a_declared_field_and_what_every_document_has_are_known() -> None:
    for key in ("meta.lang", "meta[].lang", "meta", "_id", "text"):
        check(models.Filter(must=[models.IsNullCondition(is_null={"key": key})]), "meta")  # type: ignore[arg-type]

    with pytest.raises(InputError, match="'metal'"):
        check(models.Filter(must=[models.IsNullCondition(is_null={"key": "metal"})]), "meta")  # type: ignore[arg-type]


def has_id(*ids: Any) -> Any:
    return models.HasIdCondition(has_id=list(ids))


@pytest.mark.parametrize(
    ("filter", "passing"),
    [
        (models.Filter(must=has_id("a", 7, UUID(LIKE_UUID))), ["a", 7, LIKE_UUID]),
        (models.Filter(must_not=[has_id("a"), has_id(LIKE_UUID)]), ["b", 7]),
        (models.Filter(must=[models.Filter(should=[has_id("a"), has_id(7)])]), ["a", 7]),
        (
            models.Filter(
                min_should=models.MinShould(
                    conditions=[has_id("a", 7), has_id("b", 7)], min_count=2
                )
            ),
            [7],
        ),
    ],
)
def test_conditions_on_ids_are_on_the_documents_own(filter: Any, passing: list[Any]) -> None:
    client = QdrantClient(":memory:")
    searcher = HybridSearcher(QdrantStore(client, "documents"), make_embedder())
    searcher.create(fields={"path": "keyword"})
    searcher.add([Document(id_, "text") for id_ in ("a", "b", 7, LIKE_UUID)])
    before = filter.model_copy(deep=True)

    assert {hit.id for hit in searcher.search("text", filter=filter)} == {*passing}
    assert {point.document.id for point in searcher.scan(filter=filter)} == {*passing}
    assert searcher.count(filter=filter) == len(passing)
    assert filter == before
    client.close()


def test_conditions_of_edge_keep_their_ids(tmp_path: Path) -> None:
    among = edge.HasIdCondition({7, LIKE_UUID})
    few = edge.MinShould([among, edge.HasIdCondition({7})], 2)
    with HybridSearcher(QdrantEdgeStore(tmp_path), make_embedder()) as searcher:
        searcher.create()
        searcher.add([Document(id_, "text") for id_ in ("a", 7, LIKE_UUID)])

        for filter, number in (
            (edge.Filter(must=[among]), 2),
            (edge.Filter(must_not=[among]), 1),
            (edge.Filter(min_should=few), 1),
        ):
            assert searcher.count(filter=filter) == number


def test_true_and_false_are_not_numbers_in_a_declared_field_of_edge(tmp_path: Path) -> None:
    def matches(field: str, value: Any) -> Any:
        return edge.FieldCondition(key=field, match=edge.MatchValue(value))

    with HybridSearcher(QdrantEdgeStore(tmp_path), make_embedder()) as searcher:
        searcher.create(fields={"done": "bool", "number": "integer"})
        searcher.add(
            [
                Document("done", "text", {"done": True, "number": 1}),
                Document("open", "text", {"done": False, "number": 0}),
                Document("mixed", "text", {"done": [True, False], "number": True}),
            ]
        )

        for filter, passing in (
            (edge.Filter(must=[matches("done", True)]), {"done", "mixed"}),
            (edge.Filter(should=[edge.Filter(must=[matches("done", False)])]), {"open", "mixed"}),
            (edge.Filter(must_not=[matches("done", True)]), {"open"}),
            (edge.Filter(must=[matches("number", 1)]), {"done"}),
        ):
            assert {hit.id for hit in searcher.search("text", filter=filter)} == passing
            assert searcher.count(filter=filter) == len(passing)
        searcher.delete(filter=edge.Filter(must=[matches("done", True)]))
        assert [point.document.id for point in searcher.scan()] == ["open"]


@pytest.mark.parametrize("package", [models, edge])
@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("größe_1-a", {"größe_1-a": "x"}),
        ("a.b", {"a": {"b": "x"}}),
        ('"a.b"', {"a.b": "x"}),
        ('"my field"."c[]"', {"my field": {"c[]": "x"}}),
    ],
)
def test_a_declared_field_is_a_path(
    package: Any, field: str, payload: dict[str, Any], tmp_path: Path
) -> None:
    client = QdrantClient(":memory:")
    store = QdrantEdgeStore(tmp_path) if package is edge else QdrantStore(client, "documents")
    condition = package.FieldCondition(key=field, match=package.MatchValue(value="x"))
    with HybridSearcher(store, make_embedder()) as searcher:
        searcher.create(fields={field: "keyword"})
        searcher.add([Document("old", "text", payload), Document("other", "text", {"a": ["x"]})])

        assert searcher.count(filter=package.Filter(must=[condition])) == 1
        assert searcher.replace([Document("new", "text", payload)], by=field) == 1
        assert {point.document.id for point in searcher.scan()} == {"new", "other"}
    client.close()


@pytest.mark.parametrize("package", [models, edge])
def test_a_field_that_is_no_path_is_refused_before_anything_is_made(
    package: Any, tmp_path: Path
) -> None:
    client = QdrantClient(":memory:")
    store = QdrantEdgeStore(tmp_path) if package is edge else QdrantStore(client, "documents")
    with HybridSearcher(store, make_embedder()) as searcher:
        for field in ("my field", "a..b", ".a", "a[1]b", "🚀", "'q'"):
            with pytest.raises(InputError, match=r"cannot be declared in Qdrant.*double quotes"):
                searcher.create(fields={"path": "keyword", field: "keyword"})
        assert store.record() is None
        searcher.create(fields={"a.b": "keyword"})

        with pytest.raises(InputError, match=r"'a.b', which is declared.*path.*'\"a.b\"'"):
            searcher.add([Document("one", "text"), Document("two", "text", {"a.b": "x"})])

        assert searcher.count() == 0
    client.close()


@pytest.mark.parametrize("package", [models, edge])
def test_a_filter_without_conditions_selects_everything(package: Any, tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    of_edge = package is edge
    store = QdrantEdgeStore(tmp_path) if of_edge else QdrantStore(client, "documents")
    with HybridSearcher(store, make_embedder()) as searcher:
        searcher.create()
        searcher.add([Document("a", "text")])
        empty = package.Filter()

        for filter in (empty, package.Filter(must=[]), package.Filter(should=[empty], must=[])):
            with pytest.raises(InputError, match="no conditions, so every document passes"):
                searcher.delete(filter=filter)
        assert searcher.count() == 1
        searcher.delete(filter=package.Filter(must=[package.IsEmptyCondition(**GONE[of_edge])]))
        assert searcher.count() == 0
    client.close()


@pytest.mark.parametrize("filter", [CLIENT, EDGE])
def test_replacing_ids_leaves_the_rest_of_a_filter(filter: Any) -> None:
    replaced = with_places(filter, lambda id_: id_)

    assert repr(replaced) == repr(filter) or replaced == filter
    assert list(fields_of(replaced)) == list(fields_of(filter))


@pytest.mark.parametrize("filter", [{"path": "a"}, EDGE, "path=a"])
def test_a_filter_of_another_kind_is_refused(filter: Any) -> None:
    with pytest.raises(InputTypeError, match=r"must be a `the.Filter`, got "):
        check_filter(filter, models.Filter, "the.Filter", {}, Keys())
