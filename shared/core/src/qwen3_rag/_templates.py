"""How texts become prompts: by the caller's settings, the checkpoint's own words, or Qwen's.

A setting of the caller comes first, then the prompts that the checkpoint was saved with, then those
of the model card.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from qwen3_rag._inputs import check_text
from qwen3_rag._prompts import (
    CONTROL_TOKENS,
    DEFAULT_INSTRUCTION,
    QUERY_TEMPLATE,
    EmbedPrompt,
    SavedPrompts,
)
from qwen3_rag.errors import InputError, ModelError

__all__ = ["EmbedPrompts", "check_prefix", "check_template", "saved_instruction"]

# Names under which checkpoints keep the prompt for each side, best first.
QUERY_NAMES = ("query", "web_search_query")
DOCUMENT_NAMES = ("document", "passage", "corpus")

# The form of a prompt whose instruction can be replaced: the instruction has a line of its own, and
# one more line follows.
INSTRUCTED = re.compile(r"(<?Instruct(?:ion)?>?: ?)([^\n]+)(\n[^\n]*)")

# A gap that another program is meant to fill, such as `{query}`; sentence-transformers leaves it.
GAP = re.compile(r"\{\w*\}")


@dataclass(frozen=True, slots=True)
class _Template:
    """The prompt for queries.

    Attributes:
        text: With `{text}` at its end and `{instruction}` if it has a place for one.
        instruction: The default instruction.
        origin: Where it was read, for messages.
    """

    text: str
    instruction: str = DEFAULT_INSTRUCTION
    origin: str = "`query_template`"

    @property
    def takes_instruction(self) -> bool:
        return "{instruction}" in self.text

    def before(self, instruction: str) -> str:
        """Return everything before the query."""
        return self.text.removesuffix("{text}").replace("{instruction}", instruction)


class EmbedPrompts:
    """Makes the prompts of an embedder.

    What cannot be understood is an error when it is needed: a checkpoint whose query prompt is not
    understood still embeds documents.
    """

    def __init__(
        self,
        saved: SavedPrompts,
        *,
        query_template: str | None = None,
        document_prefix: str | None = None,
    ) -> None:
        """Take the settings.

        Args:
            saved: The prompts that the checkpoint was saved with.
            query_template: Used instead of the checkpoint's prompt for queries; see
                `check_template`.
            document_prefix: Used instead of the checkpoint's text before documents.
        """
        self._saved = saved
        self._texts = dict(saved.texts)
        self._query_template = query_template
        self._document_prefix = document_prefix

    def query(self, text: str, instruction: str | None) -> EmbedPrompt:
        """Make the prompt of a query; without an instruction it has the checkpoint's.

        Raises:
            InputError: `query_template` has no place for an instruction.
            ModelError: The checkpoint's prompt has no place for one, or cannot be understood.
        """
        template = self._template
        if template.text == QUERY_TEMPLATE:
            return EmbedPrompt(text, instruction or template.instruction)
        if template.takes_instruction:
            chosen = instruction or template.instruction
            return EmbedPrompt(text, chosen, template.before(chosen))
        if instruction is None:
            return EmbedPrompt(text, "", template.before(""))
        if self._query_template is not None:
            raise InputError(
                f"`query_template` {template.text!r} has no {{instruction}}, so `instruction` "
                "cannot be used. Put {instruction} into it, or leave `instruction` out."
            )
        raise ModelError(
            f"{template.origin} is {template.before('')!r}, which has no place for an instruction. "
            "Leave `instruction` out, or give `query_template` with {instruction} and {text}."
        )

    def document(self, text: str) -> EmbedPrompt:
        """Make the prompt of a document.

        Raises:
            ModelError: The checkpoint's text before documents cannot be understood.
        """
        return EmbedPrompt(text, None, self._prefix or None)

    @cached_property
    def _template(self) -> _Template:
        if self._query_template is None:
            return self._saved_template
        instruction = DEFAULT_INSTRUCTION
        with suppress(ModelError):
            instruction = self._saved_template.instruction
        return _Template(self._query_template, instruction)

    @cached_property
    def _saved_template(self) -> _Template:
        name = self._query_name()
        if name is None:
            return _Template(QUERY_TEMPLATE)
        text = self._text(name, "query_template")
        form = INSTRUCTED.fullmatch(text)
        if form is None:
            return _Template(text + "{text}", origin=self._origin(name))
        before, instruction, after = form.groups()
        return _Template(f"{before}{{instruction}}{after}{{text}}", instruction, self._origin(name))

    @cached_property
    def _prefix(self) -> str:
        if self._document_prefix is not None:
            return self._document_prefix
        name = self._document_name()
        return "" if name is None else self._text(name, "document_prefix")

    def _query_name(self) -> str | None:
        """Choose the saved prompt for queries; `None` if there is none."""
        for name in QUERY_NAMES:
            if name in self._texts:
                return name
        others = [
            name
            for name, text in self._texts.items()
            if text and not name.lower().endswith(DOCUMENT_NAMES)
        ]
        if self._saved.default in others:
            return self._saved.default
        named = [name for name in others if name.lower().endswith("query")]
        if len(named) == 1:
            return named[0]
        if others:
            raise self._ambiguous(named or others, "queries", "query_template")
        return None

    def _document_name(self) -> str | None:
        """Choose the saved prompt for documents; `None` if there is none."""
        for name in DOCUMENT_NAMES:
            if name in self._texts:
                return name
        named = [
            name
            for name, text in self._texts.items()
            if text and name.lower().endswith(DOCUMENT_NAMES)
        ]
        if len(named) > 1:
            raise self._ambiguous(named, "documents", "document_prefix")
        return named[0] if named else None

    def _text(self, name: str, setting: str) -> str:
        text = self._texts[name]
        unclear = [gap.group() for gap in GAP.finditer(text)] + _control_tokens(text)
        if unclear:
            raise ModelError(
                f"{self._origin(name)} is {text!r}, and what {unclear[0]} stands for there is not "
                f"known. Give the text to use as `{setting}`."
            )
        return text

    def _origin(self, name: str) -> str:
        return f"The prompt {name!r} in {self._saved.source}"

    def _ambiguous(self, names: list[str], side: str, setting: str) -> ModelError:
        return ModelError(
            f"{self._saved.source} has the prompts {', '.join(map(repr, names))}, and none of them "
            f"is known to be the one for {side}. Give the one to use as `{setting}`."
        )


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
