"""Reads an endpoint's replies: whole ones, streamed ones, and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qwen3_rag.errors import BackendError

__all__ = ["Completion", "StreamReader", "check_length", "error_text", "read_completion"]

#: What `json` raises for what is no JSON, is nested too deeply, or has too long a number, and what
#: reading fields raises where something else is than expected.
_WRONG = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

_THINK, _END_THINK = "<think>", "</think>"
_SHOWN = 300
_LONGEST_EVENT = 1_000_000  # bytes
_LONGEST_REPLY = 50_000_000


@dataclass(frozen=True)
class Completion:
    """A chat model's reply.

    Attributes:
        text: The text, without a `<think>` block at its beginning.
        cut: Whether it ended because of a limit on its length.
    """

    text: str
    cut: bool


def read_completion(body: bytes) -> Completion:
    """Read the body of a reply that is not streamed.

    Raises:
        BackendError: It is not a chat completion, or has no text.
    """
    try:
        reply = json.loads(body)
        if reply.get("error"):  # with status 200, as gateways do
            raise BackendError(f"The endpoint failed while it answered: {error_text(body)}")
        choice = reply["choices"][0]
        content, finish = choice["message"].get("content"), choice.get("finish_reason")
    except _WRONG:
        raise BackendError(
            f"The endpoint sent no chat completion: {_excerpt(body)!r}. Check that `base_url` is "
            "the address of an OpenAI-compatible server, which usually ends in /v1."
        ) from None
    text = _TextReader()
    text.feed(content if isinstance(content, str) else "")
    return text.finish(finish)


class StreamReader:
    """Reads a streamed reply: server-sent events, each with a part of the text.

    Attributes:
        done: Whether the event that ends the stream has been read.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._start = b""  # of the reply, for the message if it has no events
        self._text = _TextReader()
        self._finish: str | None = None
        self._has_events = False
        self._length = 0
        self.done = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Read what has arrived, and yield the text that it adds.

        Raises:
            BackendError: The server reports an error, or this is not a streamed reply, or one
                without an end.
        """
        self._length += len(data)
        check_length(self._length)
        if len(self._start) < 4 * _SHOWN:
            self._start += data[: 4 * _SHOWN]
        # Lines end with line feeds alone: JSON may contain the other ends that str.splitlines has.
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._has_events = True
                if part := self._read(line[5:].strip()):
                    yield part
        if len(self._rest) > _LONGEST_EVENT:
            raise BackendError(
                f"The endpoint sent an event of more than {_LONGEST_EVENT // 10**6} MB, which is "
                f"no part of a chat completion. It begins with {_excerpt(self._rest)!r}."
            )

    def finish(self) -> Completion:
        """Return the whole reply.

        Raises:
            BackendError: The stream ended early, or without text.
        """
        begins = self._start.lstrip()
        if begins and not self._has_events and not begins.startswith((b":", b"event:", b"data")):
            raise BackendError(
                f"The endpoint sent no stream of events: {_excerpt(begins)!r}. Check that "
                "`base_url` is the address of an OpenAI-compatible server, which usually ends in "
                "/v1, or ask without streaming."
            )
        if not self.done and self._finish is None:
            raise BackendError(
                "The endpoint's stream ended before the reply was complete. Ask again; if it "
                "happens every time, see the server's log."
            )
        return self._text.finish(self._finish)

    def _read(self, data: bytes) -> str:
        if data == b"[DONE]":
            self.done = True
            return ""
        try:
            event = json.loads(data)
            if event.get("error"):
                raise BackendError(f"The endpoint failed while it answered: {error_text(data)}")
            choices = event.get("choices") or [{}]  # the event with token counts has none
            self._finish = choices[0].get("finish_reason") or self._finish
            content = (choices[0].get("delta") or {}).get("content")
        except _WRONG:
            raise BackendError(
                f"The endpoint sent an event that is no part of a chat completion: "
                f"{_excerpt(data)!r}."
            ) from None
        return self._text.feed(content) if isinstance(content, str) else ""


def check_length(length: int) -> None:
    """Reject a reply that is longer than any chat completion.

    Args:
        length: The bytes that have come.

    Raises:
        BackendError: It is.
    """
    if length > _LONGEST_REPLY:
        raise BackendError(
            f"The endpoint sent more than {_LONGEST_REPLY // 10**6} MB, which is no chat "
            "completion. Check `base_url`."
        )


def error_text(body: bytes) -> str:
    """Return an error's message, in the forms in which servers send it, or the body's beginning."""
    try:
        found: Any = json.loads(body)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and found.get(name):
                found = found[name]
    except (ValueError, RecursionError):
        found = None
    return _excerpt(found.encode("utf-8", "replace") if isinstance(found, str) else body)


class _TextReader:
    """Collects a reply's text, without the `<think>` block of servers that leave it there."""

    def __init__(self) -> None:
        self._held: str | None = ""  # until it is clear whether it is a block
        self._half = ""  # of a character that is divided between two parts
        self._parts: list[str] = []

    def feed(self, part: str) -> str:
        """Take a part and return what it adds to the text."""
        part, self._half = _characters(self._half + part)
        if self._held is not None:
            self._held += part
            start = self._held.lstrip()
            if start.startswith(_THINK):
                _, ended, part = start.partition(_END_THINK)
                part = part.lstrip()
                if not ended or not part:
                    return ""
            elif _THINK.startswith(start):
                return ""
            else:
                part = self._held
            self._held = None
        self._parts.append(part)
        return part

    def finish(self, reason: str | None) -> Completion:
        """Return the whole text.

        Raises:
            BackendError: There is none.
        """
        if self._held and not self._held.lstrip().startswith(_THINK):
            self._parts.append(self._held)
        if self._half:
            self._parts.append("\N{REPLACEMENT CHARACTER}")
        text = "".join(self._parts)
        if not text.strip():
            raise BackendError(
                f"The model's reply has no text (its `finish_reason` is {reason!r}). If that is "
                "'length', the model spent its tokens on thinking: raise `max_tokens` in "
                "`options`, or turn thinking off."
            )
        return Completion(text, cut=reason == "length")


def _characters(text: str) -> tuple[str, str]:
    """Put divided characters together, and keep a half at the end for the next part.

    JSON can write a character as two halves (surrogates), and servers send one token after the
    other, which may be half a character. A half that stays alone cannot be printed or sent on.
    """
    if text.isascii():
        return text, ""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    is_divided = "\ud800" <= text[-1] <= "\udbff"
    return (whole[:-1], text[-1]) if is_divided else (whole, "")


def _excerpt(body: bytes) -> str:
    """Return the beginning of a text on one line, without control characters."""
    text = " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
