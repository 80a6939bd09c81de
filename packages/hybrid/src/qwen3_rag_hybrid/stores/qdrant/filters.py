"""Checks the payload fields in a Qdrant filter, and replaces documents' ids in it.

The classes of qdrant-client and Qdrant Edge have the same attributes, so neither package is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qwen3_rag.errors import InputTypeError
from qwen3_rag_hybrid.documents import Id, Keys
from qwen3_rag_hybrid.stores.fields import check_declared

__all__ = ["check_filter", "fields_of", "has_conditions", "replaced", "with_places"]

_CLAUSES = ("must", "should", "must_not")


def check_filter(
    filter: Any, kind: type, wanted: str, fields: Mapping[str, str], keys: Keys
) -> None:
    """Reject an invalid filter.

    Args:
        filter: The caller's filter, or `None`.
        kind: The store's class of filters.
        wanted: Its name for error messages.
        fields: The declared payload fields; if there are none, any field is allowed.
        keys: Payload fields that always exist.

    Raises:
        InputTypeError: The filter is not of the store's class.
        InputError: The filter names an undeclared field.
    """
    if filter is None:
        return
    if not isinstance(filter, kind):
        given = f"{type(filter).__module__.partition('.')[0]}.{type(filter).__name__}"
        raise InputTypeError(
            f"`filter` must be a `{wanted}`, got {given.removeprefix('builtins.')}."
        )
    check_declared(fields_of(filter), fields, keys)


def fields_of(condition: Any) -> Iterator[str]:
    """Yield the payload fields in a filter or condition.

    For a condition on the objects in a list, this is the list's field.
    """
    nested = getattr(condition, "nested", None)
    if nested is not None:
        condition = nested
    for holder in (
        condition,
        getattr(condition, "is_empty", None),
        getattr(condition, "is_null", None),
    ):
        key = getattr(holder, "key", None)
        if isinstance(key, str):
            yield key
            return
    for clause in (*_CLAUSES, "min_should"):
        for inner in _conditions_of(getattr(condition, clause, None)):
            yield from fields_of(inner)


def has_conditions(filter: Any) -> bool:
    """Whether a filter has any condition; without one, every point passes it."""
    if not hasattr(filter, "must_not"):
        return True
    clauses = [getattr(filter, name) for name in (*_CLAUSES, "min_should")]
    return any(
        has_conditions(condition) for clause in clauses for condition in _conditions_of(clause)
    )


def with_places(filter: Any, place: Callable[[Id], Any]) -> Any:
    """Replace documents' ids in a filter by the points' ids.

    Args:
        filter: The filter; it is not changed.
        place: Gives the id of a document's point.
    """

    def placed(condition: Any) -> Any:
        kind = type(condition)
        if hasattr(condition, "has_id"):  # of qdrant-client
            return kind(has_id=[place(_own(id_)) for id_ in condition.has_id])
        if hasattr(condition, "point_ids"):  # of Edge
            return kind({place(_own(id_)) for id_ in condition.point_ids})
        return condition

    return replaced(filter, placed)


def replaced(condition: Any, replacement: Callable[[Any], Any]) -> Any:
    """Replace the conditions that a filter combines.

    Args:
        condition: The filter or condition; it is not changed.
        replacement: Gives another condition for one, or the same.
    """
    if not hasattr(condition, "must_not"):
        return replacement(condition)
    clauses = {name: _replaced(getattr(condition, name), replacement) for name in _CLAUSES}
    least = condition.min_should
    if least is not None:
        conditions = _replaced(least.conditions, replacement)
        least = type(least)(conditions=conditions, min_count=least.min_count)
    return type(condition)(**clauses, min_should=least)


def _replaced(clause: Any, replacement: Callable[[Any], Any]) -> Any:
    if isinstance(clause, (list, tuple)):
        return [replaced(condition, replacement) for condition in clause]
    return None if clause is None else replaced(clause, replacement)


def _own(id_: Any) -> Id:
    return id_ if isinstance(id_, int) else str(id_)


def _conditions_of(clause: Any) -> list[Any]:
    conditions = getattr(clause, "conditions", clause)
    if conditions is None:
        return []
    return list(conditions) if isinstance(conditions, (list, tuple)) else [conditions]
