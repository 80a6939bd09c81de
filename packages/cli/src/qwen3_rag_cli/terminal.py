"""What reaches the standard streams: control characters shown, any encoding, broken streams."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

__all__ = [
    "OutputError",
    "can_show",
    "complain",
    "finish",
    "give_up",
    "prepare",
    "show_warnings",
    "to_json",
    "visible",
    "visible_text",
    "writing",
]

#: Categories of characters that a terminal obeys, or that hide what is there: controls, formats
#: (such as changes of direction, and characters of no width), halves of a surrogate pair, and
#: separators of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: Formats that are seen: signs of Arabic and Syriac that stand around digits and words.
_SEEN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")

#: The joiners, without which Persian, the scripts of India and emoji cannot be written.
_JOINERS = frozenset("\u200c\u200d")

#: Matches all characters of those categories, and few others.
_SUSPECT = re.compile(r"[^\x20-\x7e\xa1-\xac\xae-\u05ff]")


def visible(text: str) -> str:
    r"""Show the control characters of a name or a short text as escapes, such as `\x1b` and `\n`.

    The result is one line. Bytes of a file's name that are not valid UTF-8 are shown as `\xff`.
    """
    if text.isprintable():
        return text
    return "".join(_escape(char) if _is_obeyed(text, i) else char for i, char in enumerate(text))


def visible_text(text: str) -> str:
    """Show control characters as `visible` does, but keep the ends of lines, and tabs."""
    return re.sub(r"[^\n\t]+", lambda run: visible(run[0]), text)


def to_json(value: object, stream: TextIO, *, indent: int | None = 2) -> str:
    """Write a value as JSON that the stream can encode and a terminal does not obey.

    The strings are the real ones: what is escaped, any reader of JSON reads back.

    Raises:
        ValueError: A number is NaN or infinite, which JSON does not have.
    """
    ascii_only = not _is_utf8(stream)
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, allow_nan=False)
    return text if ascii_only else _SUSPECT.sub(_json_escape, text)


def can_show(text: str, stream: TextIO) -> bool:
    """Whether the stream's encoding has all characters of a text."""
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def complain(text: str, *, is_prose: bool = True) -> None:
    """Print a message on stderr, if it can be written to.

    Args:
        text: The message.
        is_prose: Whether a terminal may have line ends between its words.
    """
    text = visible_text(text)
    with suppress(OSError, ValueError):
        if is_prose and sys.stderr.isatty():
            # Imported for errors only.
            from qwen3_rag_cli.console import errors
            from qwen3_rag_cli.wrapping import wrapped

            text = wrapped(text, errors().width)
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def prepare() -> None:
    """Make the standard streams take any character, and exist.

    A character that the encoding lacks is written as an escape. Where a stream was closed before
    the program began, a file opened later would get its number, and with it what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    # They are typed as never `None`, which they are when closed, and without a console.
    if getattr(sys, "stdout", None) is None:
        sys.stdout = cast(TextIO, _Closed())
    if getattr(sys, "stderr", None) is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_warnings() -> None:
    """Print warnings and log records as messages to the user, without the place in the code."""

    def show(message: Warning | str, *where: object, **more: object) -> None:
        complain(f"Warning: {message}")

    warnings.showwarning = show
    logging.lastResort = _Log(logging.WARNING)


@contextmanager
def writing() -> Iterator[None]:
    """Tell an error of writing results from other errors of the machine.

    Raises:
        OutputError: They cannot be written, other than because nobody reads on.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def finish() -> None:
    """Write what is left to write.

    Raises:
        OutputError: It cannot be written.
        BrokenPipeError: Nobody reads on.
    """
    with writing():
        sys.stdout.flush()


def give_up() -> None:
    """Write no more; otherwise Python tries again at its end, and complains in its own words."""
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the end
    with suppress(OSError, AttributeError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    sys.stdout = nowhere


class OutputError(OSError):
    """The results cannot be written."""


class _Log(logging.Handler):
    """Prints log records that no other handler takes."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.capitalize()}: {record.getMessage()}")


class _Closed:
    """In place of a closed stdout: that it was written to is an error, as for other programs."""

    encoding = "utf-8"
    closed = False

    def __init__(self) -> None:
        self._is_written = False

    def write(self, text: str) -> int:
        self._is_written = True
        return len(text)

    def flush(self) -> None:
        if self._is_written:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def isatty(self) -> bool:
        return False


def _is_obeyed(text: str, index: int) -> bool:
    char = text[index]
    if unicodedata.category(char) not in _OBEYED or char in _SEEN:
        return False
    # Beside letters that have no joined forms, a joiner only hides.
    return char not in _JOINERS or index == 0 or text[index - 1].isascii()


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, by PEP 383
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04x}"
    return char.encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    char = found[0]
    if char == "\n" or unicodedata.category(char) not in _OBEYED:  # ends of the JSON's own lines
        return char
    return json.dumps(char)[1:-1]


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
