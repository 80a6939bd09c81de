"""Declared payload fields: their types, and the check of the fields that a filter names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag_hybrid.documents import Keys

__all__ = ["FIELD_TYPES", "check_declared", "check_fields"]

#: Types of payload fields. A store may have other names for them and need not support all.
FIELD_TYPES = ("keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo")


def check_fields(fields: Mapping[str, str] | None, types: Sequence[str]) -> dict[str, str]:
    """Check that the types of declared payload fields are among a store's `types`."""
    if fields is not None and not isinstance(fields, Mapping):
        raise InputTypeError(
            f'`fields` must map names to types, as in {{"path": "keyword"}}, got {fields!r}.'
        )
    for name, kind in (fields or {}).items():
        if not isinstance(name, str) or not name:
            raise InputTypeError(f"`fields` must have the fields' names for keys, got {name!r}.")
        if kind not in types:
            raise InputError(
                f"The type of the field {name!r} must be one of {', '.join(types)}, got {kind!r}."
            )
    return dict(fields or {})


def check_declared(
    asked: Iterable[str], fields: Mapping[str, str], keys: Keys, *, by: str = "The filter"
) -> None:
    """Reject payload fields that no document has, for a store's `check_filter`.

    Args:
        asked: The fields that a filter names, where `"a.b"` and `"a[].b"` are parts of `"a"`.
        fields: The declared payload fields; if there are none, any field is allowed.
        keys: Payload fields that always exist.
        by: What names the fields, for the error message.

    Raises:
        InputError: A field was not declared.
    """
    if not fields:
        return
    for name in asked:
        if not any(_covers(known, name) for known in (*fields, keys.text, keys.id)):
            close = get_close_matches(name, fields, 1)
            raise InputError(
                f"{by} asks for the field {name!r}"
                + (f" (did you mean {close[0]!r}?)" if close else "")
                + f", but the collection's fields are {', '.join(map(repr, sorted(fields)))}. "
                "Fields are declared with `create(fields=...)`, which also adds new ones."
            )


def _covers(known: str, name: str) -> bool:
    return name == known or name.startswith((f"{known}.", f"{known}["))
