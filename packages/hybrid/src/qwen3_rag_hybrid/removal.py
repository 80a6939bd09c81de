"""Which documents `HybridSearcher.delete` and `HybridSearcher.replace` remove."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag_hybrid.documents import Document, Id, check_ids
from qwen3_rag_hybrid.stores.base import Store

__all__ = ["check_deletion", "others_of", "replaced_values"]

#: Types of payload fields whose values are equal only if they are the same.
_TYPES = ("keyword", "integer", "uuid")

_VALUES = 100  # values of a field to look for at once


def check_deletion(
    store: Store, ids: Iterable[Id] | None, filter: Any, everything: bool
) -> list[Id] | None:
    """Check the arguments of `HybridSearcher.delete`, except the filter's fields.

    Returns:
        The ids as a list.

    Raises:
        InputError: They do not say what to delete, or everything and something.
    """
    checked = None if ids is None else check_ids(ids)
    if everything:
        if ids is not None or filter is not None:
            raise InputError(
                "`everything` is given beside `ids` or `filter`. Leave one of them out."
            )
    elif ids is None and filter is None:
        raise InputError(
            "Nothing says what to delete. Pass `ids=[...]`, a `filter`, or `everything=True`."
        )
    elif filter is not None and store.selects_all(filter):
        raise InputError(
            "The filter has no conditions, so every document passes it. To delete all documents, "
            "pass `everything=True`."
        )
    return checked


def replaced_values(
    store: Store,
    documents: Sequence[Document],
    by: str,
    values: Iterable[str | int] | None,
    fields: Mapping[str, str],
) -> list[str | int]:
    """Check the arguments of `HybridSearcher.replace`, and return the values to replace.

    Args:
        store: The collection.
        documents: The new documents.
        by: The field.
        values: The values that the caller gave.
        fields: The declared payload fields.

    Raises:
        InputError: The field, a document's value or the values are not allowed.
        InputTypeError: `values` is not a list of strings or integers.
    """
    if fields.get(by) not in _TYPES:
        raise InputError(
            f"`by` must be a declared field of the type {', '.join(_TYPES)}, got {by!r}; the "
            f"declared fields are {dict(fields)}. Declare it with "
            f'`create(fields={{{by!r}: "keyword"}})`.'
        )
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable | None):
        raise InputTypeError(f"`values` must be a list, got {values!r}. Put it in a list.")
    given = None if values is None else list(values)
    for index, one in enumerate(given or ()):
        _check_value(one, fields[by], f"values[{index}]")
    found: list[str | int] = []
    for index, document in enumerate(documents):
        value, where = store.value_of(document.payload, by), f"documents[{index}].payload[{by!r}]"
        _check_value(value, fields[by], where)
        if given is not None and value not in given:
            raise InputError(f"`{where}` is {value!r}, which is not in `values`.")
        found.append(value)
    if given is None and not found:
        raise InputError(
            "There are no `documents` and no `values`, so nothing is replaced. Pass the values "
            f"of {by!r} whose documents to remove: `values=[...]`."
        )
    return list(dict.fromkeys(found if given is None else given))


def _check_value(value: Any, type_: str, where: str) -> None:
    kind = int if type_ == "integer" else str
    if type(value) is not kind:
        raise InputTypeError(f"`{where}` must be of the type {kind.__name__}, got {value!r}.")
    if type_ == "uuid":
        try:
            UUID(str(value))
        except ValueError:
            raise InputError(f"`{where}` must be a UUID, got {value!r}.") from None


def others_of(
    store: Store, field: str, values: Sequence[str | int], kept: Container[Id]
) -> list[Id]:
    """List the documents that have one of the values, except those to keep.

    Args:
        store: The collection.
        field: The payload field. A document with a list of several values there is not listed.
        values: The values.
        kept: Ids of the documents to keep.
    """
    found = []
    for start in range(0, len(values), _VALUES):
        some = values[start : start + _VALUES]
        for point in store.scan(filter=store.matching({field: some})):
            document = point.document
            value = store.value_of(document.payload, field)
            # To Python, and to some stores, 1 is also True and 1.0.
            is_one = type(value) is type(some[0]) and value in some
            if is_one and document.id not in kept:
                found.append(document.id)
    return found
