"""Names of payload fields, which are paths for Qdrant: `"a.b"` is the field `"b"` in `"a"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from qwen3_rag.errors import InputError
from qwen3_rag_hybrid.documents import Document

__all__ = ["check_paths", "check_payloads", "value_at"]

_NAME = r'[\w-]+|"[^"]*"'
_STEP = rf"(?:{_NAME})(?:\[\d*\])*"
_PATH = re.compile(rf"{_STEP}(?:\.{_STEP})*")


def check_paths(names: Iterable[str]) -> None:
    """Reject names of fields that are no paths, before anything is made for them.

    Raises:
        InputError: One is none.
    """
    for name in names:
        if not _PATH.fullmatch(name):
            raise InputError(
                f"The field {name!r} cannot be declared in Qdrant: a name consists of letters, "
                "digits, '_' and '-', and leads into objects with dots. Write any other name in "
                f"double quotes, here and in filters: {_quoted(name)!r}."
            )


def check_payloads(documents: Iterable[Document], fields: Iterable[str]) -> None:
    """Reject payloads with a field whose name, as it was declared, leads elsewhere.

    Args:
        documents: The documents.
        fields: The declared payload fields.

    Raises:
        InputError: A payload has such a field, which no filter would find.
    """
    paths = {name for name in fields if not re.fullmatch(r"[\w-]+", name)}
    for document in documents:
        for name in paths.intersection(document.payload):
            raise InputError(
                f"The payload of the document {document.id!r} has the field {name!r}, which is "
                f"declared, and which Qdrant reads as a path. Declare it as {_quoted(name)!r}, or "
                "rename it."
            )


def value_at(payload: Mapping[str, Any], path: str) -> Any:
    """Return what a payload has at a path; `None` if it has nothing there, or in lists only."""
    value: Any = payload
    for name in re.findall(_STEP, path):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name[1:-1] if name.startswith('"') else name)
    return value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "") + '"'
