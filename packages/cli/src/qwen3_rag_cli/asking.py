"""Asks a chat model for an answer from search hits, and shows it while it is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from rich.padding import Padding

from qwen3_rag import Hit
from qwen3_rag.chat import Answer, Chat, stream_answer
from qwen3_rag.errors import InputError, Qwen3RagError
from qwen3_rag_cli.console import console, plain, waiting
from qwen3_rag_cli.output import PATH, hit_record, where
from qwen3_rag_cli.places import Base
from qwen3_rag_cli.terminal import visible_text, writing
from qwen3_rag_cli.wrapping import Wrapping

__all__ = ["answer_record", "answered", "chat_endpoint", "print_answer"]

#: What messages of `qwen3_rag.chat` name, and what to say instead, in this order.
NAMES = {
    "`api_key` or `api_key_env`": "`--chat-key-env`",
    "`api_key_env`": "`--chat-key-env`",
    "`base_url`": "`--chat-url`",
    "`model`": "`--chat-model`",
    " Raise `timeout`, or stream the reply, which then arrives in parts.": "",
    "`max_tokens` in `options`": "`max_tokens` with `--chat-option`",
    "`options`": "`--chat-option`",
}


def chat_endpoint(
    url: str | None, model: str | None, key_env: str | None, options: Sequence[str]
) -> Chat:
    """Read the options of the chat endpoint.

    Args:
        url: Its address.
        model: The model's name there.
        key_env: Environment variable with its key.
        options: Further fields of the request, as `NAME=VALUE`; a value that is JSON is read.

    Raises:
        InputError: One is missing or cannot be used.
    """
    for option, value in (("--chat-url URL", url), ("--chat-model NAME", model)):
        if not value:
            variable = f"QWEN3_RAG_{option.split()[0].lstrip('-').replace('-', '_').upper()}"
            raise InputError(
                f"An answer needs a chat model on an OpenAI-compatible server, such as vllm, "
                f"llama-server or ollama. Name it with {option}, or with {variable}."
            )
    fields = {}
    for given in options:
        name, equals, text = given.partition("=")
        if not equals or not name:
            raise InputError(f"`--chat-option` must be NAME=VALUE, got {given!r}.")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    with _in_options():
        return Chat(url or "", model or "", api_key_env=key_env, options=fields)


def answered(question: str, hits: Sequence[Hit], chat: Chat, *, silent: bool) -> Answer:
    """Ask for an answer; on a terminal, its text is shown while it is written.

    Args:
        question: The question.
        hits: What to answer from; without any, no model is asked.
        chat: The chat model.
        silent: Whether to show nothing.

    Raises:
        BackendError: The chat model cannot be asked.
        InputError: The question is blank, or the key's variable is not set.
    """
    shown = not silent and sys.stdout.isatty()
    with _in_options():
        stream = stream_answer(question, hits, chat)
        parts = iter(stream)
        with waiting(f"Asking {chat.model}", silent):
            first = next(parts, "")
        with _line(shown) as write:
            for text in _visible_parts(chain([first], parts)):
                write(text)
        return stream.answer


def answer_record(answer: Answer, question: str, base: Base, hits: Sequence[Hit]) -> dict[str, Any]:
    """Return an answer as plain values.

    Args:
        answer: The answer.
        question: The question.
        base: What paths are relative to.
        hits: What it was answered from.
    """
    return {
        "question": question,
        "base": str(base.folder),
        "text": answer.text,
        "found": answer.found,
        "cut": answer.cut,
        "unknown": list(answer.unknown),
        "documents": len(hits),
        "sources": [{"number": one.number, **hit_record(one.hit)} for one in answer.sources],
    }


def print_answer(answer: Answer, base: Base, hits: Sequence[Hit]) -> None:
    """Print an answer with its sources; on a terminal, its text has been shown already."""
    out = console()
    if not sys.stdout.isatty():
        out.say(answer.text)
    if answer.sources:
        out.print()
    for source in answer.sources:
        line = plain(f"[{source.number}] ")
        line.append(plain(where(source.hit, base.shown), PATH))
        heading = plain(str(source.hit.payload.get("heading") or ""))
        if heading and out.is_terminal and line.cell_len + 2 + heading.cell_len > out.width:
            out.print(line, soft_wrap=True)
            out.print(Padding(heading, (0, 0, 0, 4), expand=False))
            continue
        if heading:
            line.append("  ").append(heading)
        out.print(line, soft_wrap=True)
    for remark in _remarks(answer, hits):
        out.say(remark, "dim")


def _remarks(answer: Answer, hits: Sequence[Hit]) -> Iterator[str]:
    if not hits:
        yield "No chunk was found to answer from, so the chat model was not asked."
    if answer.cut:
        yield "The text ends early, at a limit on its length."
    if answer.unknown:
        numbers = ", ".join(f"[{number}]" for number in answer.unknown)
        yield f"The model made up the source {numbers}; check what it says."
    elif answer.found and not answer.sources:
        yield "The model cites no source; check what it says."


@contextmanager
def _line(shown: bool) -> Iterator[Callable[[str], None]]:
    """Write a text in parts, and end its line, however the text ends."""
    wrapping = Wrapping(console().width)

    def write(text: str) -> None:
        if shown:
            with writing():
                sys.stdout.write(wrapping.add(text))
                sys.stdout.flush()

    try:
        yield write
    finally:
        write("\n")


def _visible_parts(parts: Iterable[str]) -> Iterator[str]:
    """Show control characters of parts of a text as those of the whole text."""
    before = ""
    for part in parts:
        yield visible_text(before + part)[len(visible_text(before)) :]
        before = part[-1:] or before


@contextmanager
def _in_options() -> Iterator[None]:
    """Let errors name the options of the command line."""
    try:
        yield
    except Qwen3RagError as error:
        message = str(error)
        for name, option in NAMES.items():
            message = message.replace(name, option)
        raise type(error)(message) from error
