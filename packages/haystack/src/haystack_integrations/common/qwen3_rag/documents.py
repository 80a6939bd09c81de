"""Checks documents and turns them into the texts that a model reads."""

from __future__ import annotations

from collections.abc import Sequence

from haystack import Document

from qwen3_rag.errors import InputTypeError
from qwen3_rag.integration import check_text, check_texts

__all__ = ["check_documents", "check_fields", "texts_of"]


def check_documents(documents: object, hint: str) -> None:
    """Check that a component got documents.

    Args:
        documents: The component's argument.
        hint: Advice for the error message.

    Raises:
        InputTypeError: The argument is not a list of documents.
    """
    if not isinstance(documents, list):
        got = type(documents).__name__
    else:
        wrong = [type(item).__name__ for item in documents if not isinstance(item, Document)]
        if not wrong:
            return
        got = f"a list with {wrong[0]}"
    raise InputTypeError(f"`documents` must be a list of Haystack Documents, got {got}. {hint}")


def check_fields(fields: Sequence[str] | None, separator: str) -> list[str]:
    """Check that the metadata fields are names, and the separator is a string.

    Raises:
        InputTypeError: `fields` is a single string, or a value is not a string.
    """
    check_text(separator, "embedding_separator")
    return check_texts([] if fields is None else fields, "meta_fields_to_embed")


def texts_of(documents: Sequence[Document], fields: Sequence[str], separator: str) -> list[str]:
    """Join the existing metadata fields, in the given order, and the content.

    Values such as 0 and "" count as existing; `None` does not. Missing content counts as empty.
    """
    return [
        separator.join(
            [
                *(str(d.meta[name]) for name in fields if d.meta.get(name) is not None),
                d.content or "",
            ]
        )
        for d in documents
    ]
