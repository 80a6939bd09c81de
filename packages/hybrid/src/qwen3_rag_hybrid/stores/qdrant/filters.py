"""Which payload fields a Qdrant filter asks for, and whether the collection declares them.

The classes of qdrant-client and of Qdrant Edge have the same parts, so this needs neither package.
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
    """Refuse a filter that cannot be meant.

    Args:
        filter: What the caller gave; `None` for none.
        kind: The store's class of filters.
        wanted: Its name, for messages.
        fields: The declared payload fields; where there are none, any may be meant.
        keys: Payload fields that are always there.

    Raises:
        InputTypeError: Not of the store's class.
        InputError: A field that was not declared.
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
    """Name the payload fields a filter or one condition of it looks at.

    A condition on the objects of a list names the list: their fields are counted from there.
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
