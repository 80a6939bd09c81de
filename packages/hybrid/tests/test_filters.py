"""Filters of both kinds: which fields they ask for, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest
import qdrant_edge as edge
from qdrant_client import models

from qwen3_rag import InputError, InputTypeError
from qwen3_rag_hybrid.documents import Keys
from qwen3_rag_hybrid.stores.qdrant.filters import check_filter, fields_of

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


@pytest.mark.parametrize("filter", [{"path": "a"}, EDGE, "path=a"])
def test_a_filter_of_another_kind_is_refused(filter: Any) -> None:
    with pytest.raises(InputTypeError, match=r"must be a `the.Filter`, got "):
        check_filter(filter, models.Filter, "the.Filter", {}, Keys())
