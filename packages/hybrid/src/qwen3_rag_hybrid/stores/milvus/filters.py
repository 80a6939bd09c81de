"""Finds the fields in a Milvus filter expression, and checks that the collection has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag_hybrid.stores.milvus.rows import Names
from qwen3_rag_hybrid.stores.record import check_declared

__all__ = ["check_filter", "matching"]

_STRING = r"""[rR]?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
# A name may be followed by a key in brackets. Strings, numbers and functions have no `name`.
_TOKEN = re.compile(
    rf"""{_STRING}|\d[\w.]*|\w+\s*\(|(?P<name>[^\W\d]\w*)(?:\s*\[\s*["'](?P<key>[^"']*)["']\s*\])?""",
    re.DOTALL,
)
_WORDS = frozenset({"and", "exists", "false", "in", "is", "like", "not", "null", "or", "true"})


def check_filter(filter: Any, fields: Mapping[str, str], names: Names) -> None:
    """Reject an invalid filter.

    Args:
        filter: The caller's filter, or `None`.
        fields: The declared payload fields; if there are none, any field is allowed.
        names: The names of the collection's fields.

    Raises:
        InputTypeError: The filter is no string.
        InputError: The filter names an undeclared field, or one outside the payload that the
            collection does not have.
    """
    if filter is None:
        return
    if not isinstance(filter, str):
        example = f'{names.payload}["path"] == "a.md"'
        raise InputTypeError(
            f"`filter` must be a `str`, got {type(filter).__name__}. Write an expression of "
            f"Milvus, such as {example!r}."
        )
    found = list(_fields_of(filter))
    for name, _ in found:
        if name not in names.all:
            example = f'{names.payload}["{name}"]'
            raise InputError(
                f"The filter names the field {name!r}, which the collection does not have. For a "
                f"field of the documents' payloads, write {example}."
            )
    asked = [key for name, key in found if name == names.payload and key is not None]
    check_declared(asked, fields, names.keys)


def _fields_of(expression: str) -> Iterator[tuple[str, str | None]]:
    """Yield the fields that an expression names, each with the key in brackets after it."""
    for match in _TOKEN.finditer(expression):
        name = match["name"]
        if name and name.lower() not in _WORDS:
            yield name, match["key"]


def matching(values: Mapping[str, Sequence[str]], names: Names) -> str:
    """Make an expression: each field of the payload has one of its values.

    Milvus Lite does not take `in` with a key of a JSON field.
    """
    conditions = []
    for field, wanted in values.items():
        place = f"{names.payload}[{_quoted(field)}]"
        conditions.append(" or ".join(f"{place} == {_quoted(value)}" for value in wanted))
    return " and ".join(f"({condition})" for condition in conditions)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
