"""Checks the fields in a Milvus filter expression, and replaces documents' ids in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag_hybrid.documents import Id
from qwen3_rag_hybrid.stores.fields import check_declared
from qwen3_rag_hybrid.stores.milvus.rows import Names

__all__ = ["check_filter", "matching", "quoted", "with_places", "within"]

_STRING = r"""[rR]?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
# A name may be followed by a key in brackets. Strings, numbers and functions have no `name`.
_TOKEN = re.compile(
    rf"""{_STRING}|\d[\w.]*|\w+\s*\(|(?P<name>[^\W\d]\w*)(?:\s*\[\s*["'](?P<key>[^"']*)["']\s*\])?""",
    re.DOTALL,
)
# Where a string ends for Milvus, which has no other quotes, and no comments.
_WHOLE_STRING = re.compile(r""""(?:\\.|[^"\\\r\n])*"|'(?:\\.|[^'\\\r\n])*'""")
# The escapes that Milvus and Milvus Lite both know.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_WORDS = frozenset({"and", "exists", "false", "in", "is", "like", "not", "null", "or", "true"})


def check_filter(filter: Any, fields: Mapping[str, str], names: Names) -> None:
    """Reject an invalid filter.

    Args:
        filter: The caller's filter, or `None`.
        fields: The declared payload fields; if there are none, any field is allowed.
        names: The names of the collection's fields.

    Raises:
        InputTypeError: The filter is no string.
        InputError: The filter has quotes or parentheses that are not closed; or names an undeclared
            field, or one outside the payload that the collection does not have; or uses ids of
            documents in a way that cannot be replaced.
    """
    if filter is None:
        return
    if not isinstance(filter, str):
        example = f'{_place("path", names)} == "a.md"'
        raise InputTypeError(
            f"`filter` must be a `str`, got {type(filter).__name__}. Write an expression of "
            f"Milvus, such as {example!r}."
        )
    _check_complete(filter)
    if not names.payload:  # the fields of the payload are the collection's
        asked = [name for name, _ in _fields_of(filter) if name not in names.all]
        check_declared(asked, fields, names.keys)
        return
    found = list(_fields_of(_replace_comparisons(filter, names, lambda *_: "true")))
    for name, _ in found:
        if name in (names.primary, names.id):
            raise InputError(
                f"The filter uses the field {name!r}, whose values are derived from the "
                "documents' ids, in another way than `==`, `!=`, `in` or `not in` with ids. Write "
                f'`{names.id} in ["a", "b"]`, or search with `ids=["a", "b"]`.'
            )
        if name not in names.all:
            example = f'{names.payload}["{name}"]'
            raise InputError(
                f"The filter names the field {name!r}, which the collection does not have. For a "
                f"field of the documents' payloads, write {example}."
            )
    asked = [key for name, key in found if name == names.payload and key is not None]
    check_declared(asked, fields, names.keys)


def with_places(filter: str, names: Names, place: Callable[[Id], Id]) -> str:
    """Replace comparisons with documents' ids by comparisons with primary keys.

    Args:
        filter: The caller's filter, checked.
        names: The names of the collection's fields.
        place: Gives the primary key of a document's row.
    """

    def placed(operator: str, ids: Id | list[Id]) -> str:
        places = [place(id_) for id_ in ids] if isinstance(ids, list) else place(ids)
        return f"{names.primary} {operator} {quoted(places)}"

    return _replace_comparisons(filter, names, placed)


def _replace_comparisons(filter: str, names: Names, replacement: Callable[[str, Any], str]) -> str:
    """Replace comparisons of the primary key, or of the document's id, with ids.

    Args:
        filter: The filter.
        names: The names of the collection's fields.
        replacement: Gives the new comparison, for an operator and an id or a list of ids.
    """
    one = rf"(?:{_STRING}|\d+)"
    fields = "|".join(map(re.escape, (names.primary, names.id)))
    comparison = re.compile(
        # A string that has a comparison in it is matched first, as a whole.
        rf"{_STRING}|\b(?:{fields})\s*(?P<operator>==|!=|(?i:(?:not\s+)?in\b))\s*"
        rf"(?P<ids>{one}(?![\w.])|\[\s*(?:{one}\s*(?:,\s*{one}\s*)*,?\s*)?\])",
        re.DOTALL,
    )

    def replaced(match: re.Match[str]) -> str:
        if match["operator"] is None:
            return match[0]
        try:
            ids = ast.literal_eval(match["ids"])
        except (SyntaxError, ValueError) as error:
            raise InputError(
                f"The filter has {match['ids']!r} for ids of documents, which cannot be read "
                f"({error.msg if isinstance(error, SyntaxError) else error}). Search with "
                "`ids=[...]` instead."
            ) from error
        return replacement(match["operator"], ids)

    return comparison.sub(replaced, filter)


def _fields_of(expression: str) -> Iterator[tuple[str, str | None]]:
    """Yield the fields that an expression names, each with the key in brackets after it."""
    for match in _TOKEN.finditer(expression):
        name = match["name"]
        if name and name.lower() not in _WORDS:
            yield name, match["key"]


def matching(values: Mapping[str, Sequence[Any]], names: Names) -> str:
    """Make an expression: each field of the payload has one of its values.

    Milvus Lite does not take `in` with a key of a JSON field.
    """
    conditions = []
    for field, wanted in values.items():
        place = _place(field, names)
        conditions.append(" or ".join(f"{place} == {quoted(value)}" for value in wanted))
    return " and ".join(f"({condition})" for condition in conditions)


def _place(field: str, names: Names) -> str:
    return f"{names.payload}[{quoted(field)}]" if names.payload else field


def within(tenant: str | None, filter: str | None, names: Names) -> str:
    """Restrict the caller's expression to a tenant, if there is one.

    Args:
        tenant: The tenant.
        filter: The caller's expression, or `None`.
        names: The names of the collection's fields.

    Raises:
        InputError: The expression has quotes or parentheses that are not closed, or closes the
            condition on the tenant.
    """
    if tenant is None:
        return filter or ""
    own = f"{names.tenant} == {quoted(tenant)}"
    if not filter:
        return own
    _check_complete(filter)
    return f"{own} and ({filter})"


def _check_complete(expression: str) -> None:
    """Reject quotes and parentheses that are not closed, or closed before they are opened."""
    depth = 0
    rest = _WHOLE_STRING.sub("", expression)
    for character in rest:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    if depth or '"' in rest or "'" in rest:
        raise InputError(
            f"The filter {expression!r} has a quote or a parenthesis too many or too few. Close "
            "each that is opened; in a string, write \\ before a quote."
        )


def quoted(value: Id | Sequence[Id]) -> str:
    """Write an id, another value or a list of them in the form of Milvus's expressions."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    return f"[{', '.join(map(quoted, value))}]"
