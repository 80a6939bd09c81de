"""JSON schemas of answers, for the OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = [
    "BOOLEAN",
    "ERROR",
    "INTEGER",
    "NUMBER",
    "PLAIN_ERROR",
    "STRING",
    "Shape",
    "items",
    "record",
]

Shape: TypeAlias = Mapping[str, Any]

STRING: Shape = {"type": "string"}
INTEGER: Shape = {"type": "integer"}
NUMBER: Shape = {"type": "number"}
BOOLEAN: Shape = {"type": "boolean"}


def items(shape: Shape) -> Shape:
    """Describe a list."""
    return {"type": "array", "items": shape}


def record(optional: Mapping[str, Shape] | None = None, **required: Shape) -> Shape:
    """Describe an object that has these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": [*required],
        "additionalProperties": False,
    }


#: What `Refusal.body` and `Refusal.plain_body` give.
ERROR = record(
    error=record(message=STRING, type=STRING, param={"type": ["string", "null"]}, code=INTEGER),
    message=STRING,
)
PLAIN_ERROR = record(error=STRING, error_type=STRING, message=STRING)
