"""How texts become prompts: by the caller's settings, the checkpoint's own words, or Qwen's.

A setting of the caller comes first, then the prompts that the checkpoint was saved with, then those
of the model card.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache

from qwen3_rag._inputs import check_text
from qwen3_rag._prompts import (
    CONTROL_TOKENS,
    DEFAULT_INSTRUCTION,
    QUERY_TEMPLATE,
    QueryTemplate,
    SavedPrompts,
)
from qwen3_rag.errors import InputError, ModelError

__all__ = [
    "check_prefix",
    "check_template",
    "document_prefix",
    "query_template",
    "saved_instruction",
]

# Names under which checkpoints keep the prompt for each side, best first.
QUERY_NAMES = ("query", "web_search_query")
DOCUMENT_NAMES = ("document", "passage", "corpus")

# The form of a prompt whose instruction can be replaced: the instruction has a line of its own, and
# one more line follows.
INSTRUCTED = re.compile(r"(<?Instruct(?:ion)?>?: ?)([^\n]+)(\n[^\n]*)")

# A gap that another program is meant to fill, such as `{query}`; sentence-transformers leaves it.
GAP = re.compile(r"\{\w*\}")


@lru_cache(maxsize=256)
def query_template(saved: SavedPrompts, setting: str | None = None) -> QueryTemplate:
    """Return what makes the prompts of queries.

    Args:
        saved: The prompts that the checkpoint was saved with.
        setting: Used instead of the checkpoint's prompt; see `check_template`.

    Raises:
        ModelError: There is no setting, and the checkpoint's prompt is not understood.
    """
    if setting is not None:
        instruction = DEFAULT_INSTRUCTION
        with suppress(ModelError):
            instruction = query_template(saved).instruction
        return QueryTemplate(setting, instruction)
    name = _query_name(saved)
    if name is None:
        return QueryTemplate()
    text = _understood(saved, name, "query_template")
    form = INSTRUCTED.fullmatch(text)
    if form is None:
        return QueryTemplate(text + "{text}", origin=_origin(saved, name))
    before, instruction, after = form.groups()
    return QueryTemplate(
        f"{before}{{instruction}}{after}{{text}}", instruction, _origin(saved, name)
    )


@lru_cache(maxsize=256)
def document_prefix(saved: SavedPrompts, setting: str | None = None) -> str | None:
    """Return the text before every document; `None` if there is none.

    Args:
        saved: The prompts that the checkpoint was saved with.
        setting: Used instead of the checkpoint's.

    Raises:
        ModelError: There is no setting, and the checkpoint's prompt is not understood.
    """
    if setting is not None:
        return setting or None
    name = _document_name(saved)
    return None if name is None else _understood(saved, name, "document_prefix") or None


def _query_name(saved: SavedPrompts) -> str | None:
    """Choose the saved prompt for queries; `None` if there is none."""
    texts = dict(saved.texts)
    for name in QUERY_NAMES:
        if name in texts:
            return name
    others = [
        name for name, text in texts.items() if text and not name.lower().endswith(DOCUMENT_NAMES)
    ]
    if saved.default in others:
        return saved.default
    named = [name for name in others if name.lower().endswith("query")]
    if len(named) == 1:
        return named[0]
    if others:
        raise _ambiguous(saved, named or others, "queries", "query_template")
    return None


def _document_name(saved: SavedPrompts) -> str | None:
    """Choose the saved prompt for documents; `None` if there is none."""
    texts = dict(saved.texts)
    for name in DOCUMENT_NAMES:
        if name in texts:
            return name
    named = [name for name, text in texts.items() if text and name.lower().endswith(DOCUMENT_NAMES)]
    if len(named) > 1:
        raise _ambiguous(saved, named, "documents", "document_prefix")
    return named[0] if named else None


def _understood(saved: SavedPrompts, name: str, setting: str) -> str:
    """Return the text of a saved prompt, which must not have gaps or control tokens."""
    text = dict(saved.texts)[name]
    unclear = [gap.group() for gap in GAP.finditer(text)] + _control_tokens(text)
    if unclear:
        raise ModelError(
            f"{_origin(saved, name)} is {text!r}, and what {unclear[0]} stands for there is not "
            f"known. Give the text to use as `{setting}`."
        )
    return text


def _origin(saved: SavedPrompts, name: str) -> str:
    return f"The prompt {name!r} in {saved.source}"


def _ambiguous(saved: SavedPrompts, names: list[str], side: str, setting: str) -> ModelError:
    return ModelError(
        f"{saved.source} has the prompts {', '.join(map(repr, names))}, and none of them is known "
        f"to be the one for {side}. Give the one to use as `{setting}`."
    )


@lru_cache(maxsize=256)
def saved_instruction(saved: SavedPrompts) -> str:
    """Return a reranker's default instruction: the checkpoint's, else the model card's.

    Raises:
        ModelError: It has control tokens, which an instruction cannot have.
    """
    text = dict(saved.texts).get(saved.default or "", "")
    if not text.strip():
        return DEFAULT_INSTRUCTION
    if found := _control_tokens(text):
        raise ModelError(
            f"The prompt {saved.default!r} in {saved.source} is {text!r}, and {found[0]} would be "
            "plain text in an instruction. Give the instruction to use as `instruction`."
        )
    return text


def check_template(template: str | None) -> str | None:
    """Check that queries can be put into a template.

    Args:
        template: Text with `{text}` at its end, and at most one `{instruction}`. Other braces are
            plain text.

    Raises:
        InputError: It has another form, or has control tokens, which would be plain text.
    """
    if template is None:
        return None
    check_text(template, "query_template")
    if (
        not template.endswith("{text}")
        or template.count("{text}") > 1
        or template.count("{instruction}") > 1
    ):
        raise InputError(
            "`query_template` must end in {text}, where the query comes, and may have "
            f"{{instruction}} once, as in {QUERY_TEMPLATE!r}; got {template!r}."
        )
    return _check_plain(template, "query_template")


def check_prefix(prefix: str | None) -> str | None:
    """Check that a text can be put before documents.

    Raises:
        InputError: It has control tokens, which would be plain text.
    """
    return (
        None
        if prefix is None
        else _check_plain(check_text(prefix, "document_prefix"), "document_prefix")
    )


def _check_plain(text: str, name: str) -> str:
    if found := _control_tokens(text):
        raise InputError(
            f"`{name}` has {found[0]}, a control token, which would be read as plain text. Leave "
            "it out."
        )
    return text


def _control_tokens(text: str) -> list[str]:
    return sorted(token for token in CONTROL_TOKENS if token in text)
