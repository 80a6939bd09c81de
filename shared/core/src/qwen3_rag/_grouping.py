"""Keeps the best hits of each group, such as the chunks of one document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qwen3_rag._inputs import check_count
from qwen3_rag._results import Hit
from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["check_grouping", "grouped"]


def check_grouping(group_by: str | None, per_group: int) -> None:
    """Check the arguments of a grouped search.

    Raises:
        InputError: The field is empty, `per_group` is below one, or it is given without a field.
        InputTypeError: An argument has the wrong type.
    """
    check_count(per_group, "per_group", 1, required=True)
    if group_by is None:
        if per_group != 1:
            raise InputError(
                f"`per_group` is {per_group}, but hits are not grouped. Set `group_by` to a "
                "payload field, or leave `per_group` out."
            )
        return
    if not isinstance(group_by, str):
        raise InputTypeError(
            f"`group_by` must be the name of a payload field, got {group_by!r} "
            f"({type(group_by).__name__})."
        )
    if not group_by:
        raise InputError("`group_by` is empty. Give the name of a payload field, or leave it out.")


def grouped(
    hits: Sequence[Hit], field: str, per_group: int, *, offset: int, limit: int
) -> list[Hit]:
    """Keep the best hits of each group. The order stays the same.

    Args:
        hits: Hits, best first.
        field: The payload field whose value is the group; `"a.b"` is the field `"b"` in `"a"`. A
            hit without it, or with a null, is a group of its own.
        per_group: Number of hits to keep of each group.
        offset: Number of groups to skip; groups are ordered by their best hit.
        limit: Number of groups to keep.
    """
    sizes: dict[str | int, int] = {}
    places: dict[str | int, int] = {}
    kept = []
    for index, hit in enumerate(hits):
        value = _value(hit.payload, field)
        group = index if value is None else json.dumps(value, sort_keys=True, default=str)
        place = places.setdefault(group, len(places))
        sizes[group] = sizes.get(group, 0) + 1
        if offset <= place < offset + limit and sizes[group] <= per_group:
            kept.append(hit)
    return kept


def _value(payload: Mapping[str, Any], field: str) -> Any:
    if field in payload:
        return payload[field]
    name, dot, rest = field.partition(".")
    inner = payload.get(name)
    return _value(inner, rest) if dot and isinstance(inner, Mapping) else None
