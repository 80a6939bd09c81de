"""Finds the payload fields in a Qdrant filter, and checks that the collection declares them.

The classes of qdrant-client and Qdrant Edge have the same attributes, so neither package is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qwen3_rag.errors import InputTypeError
from qwen3_rag_hybrid.documents import Keys
from qwen3_rag_hybrid.stores.record import check_declared

__all__ = ["check_filter", "fields_of"]


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
    for clause in ("must", "should", "must_not", "min_should"):
        yield from _fields_of_clause(getattr(condition, clause, None))


def _fields_of_clause(clause: Any) -> Iterator[str]:
    conditions = getattr(clause, "conditions", clause)
    if conditions is None:
        return
    for condition in conditions if isinstance(conditions, (list, tuple)) else [conditions]:
        yield from fields_of(condition)
