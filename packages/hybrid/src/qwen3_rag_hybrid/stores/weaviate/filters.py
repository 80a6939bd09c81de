"""Finds the properties in a Weaviate filter, and checks that the collection declares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weaviate.classes.query import Filter
from weaviate.collections.classes.filters import FilterReturn

from qwen3_rag.errors import InputTypeError
from qwen3_rag_hybrid.documents import Keys
from qwen3_rag_hybrid.stores.fields import check_declared
from qwen3_rag_hybrid.stores.weaviate.layout import check_number

__all__ = ["check_filter", "fields_of", "matching"]

# What filters by an object's own id and times name.
_OF_OBJECTS = ("_id", "_creationTimeUnix", "_lastUpdateTimeUnix")


def check_filter(filter: Any, fields: Mapping[str, str], keys: Keys) -> None:
    """Reject an invalid filter.

    Args:
        filter: The caller's filter, or `None`.
        fields: The declared payload fields; if there are none, any field is allowed.
        keys: Properties that always exist.

    Raises:
        InputTypeError: The filter was not made with `weaviate.classes.query.Filter`.
        InputError: The filter names an undeclared field, or has an integer that the server would
            take for another one.
    """
    if filter is None:
        return
    if not isinstance(filter, FilterReturn):
        raise InputTypeError(
            f"`filter` must be a `weaviate.classes.query.Filter`, got {type(filter).__name__}. "
            'Make one with `Filter.by_property("path").equal("a.md")`, for example.'
        )
    check_declared(fields_of(filter), fields, keys)
    for condition in _conditions_of(filter):
        values = condition.value if isinstance(condition.value, list) else [condition.value]
        for value in values:
            check_number(value, "The filter")


def fields_of(filter: Any) -> Iterator[str]:
    """Yield the properties in a filter, without the object's own id and times."""
    for condition in _conditions_of(filter):
        target = condition.target
        name = target if isinstance(target, str) else target.link_on  # a reference's name
        if name.startswith("len(") and name.endswith(")"):
            name = name[4:-1]
        if name not in _OF_OBJECTS:
            yield name


def _conditions_of(filter: Any) -> Iterator[Any]:
    """Yield the conditions that a filter combines."""
    clauses = getattr(filter, "filters", None)
    if clauses is None:
        yield filter
        return
    for clause in clauses:
        yield from _conditions_of(clause)


def matching(values: Mapping[str, Sequence[Any]]) -> FilterReturn:
    """Make a filter: each field has one of its values.

    Raises:
        InputError: The server would take a value for another one.
    """
    for field, wanted in values.items():
        for value in wanted:
            check_number(value, f"`values` of {field!r}")
    conditions = [
        Filter.by_property(field).contains_any(list(wanted)) for field, wanted in values.items()
    ]
    return conditions[0] if len(conditions) == 1 else Filter.all_of(conditions)
