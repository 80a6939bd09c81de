"""The terminal: tables, lines and JSON on stdout, progress on stderr.

Everything is printed through `_Console`, `plain` or `print_json`, which show control characters
instead of passing them on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qwen3_rag_cli.terminal import to_json, visible, visible_text, writing
from qwen3_rag_cli.wrapping import wrapped

__all__ = [
    "console",
    "counted",
    "errors",
    "is_animated",
    "note_to",
    "plain",
    "print_json",
    "print_json_line",
    "print_line",
    "print_sections",
    "progress",
    "size",
    "waiting",
]

#: Columns of a pipe, which has none of its own.
PIPE_WIDTH = 120

#: Columns below which tables would be one letter wide.
LEAST_WIDTH = 20

#: How many values of a list are shown in a table.
LISTED = 12

#: Columns that all parts of a progress bar but the file take at most.
_BAR_WIDTH = 58


class _Console(Console):
    """A console that reads no markup, and shows control characters of strings as escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        with suppress(OSError) if self.stderr else writing():
            super().print(*objects, **options)

    def say(self, text: str, style: str = "") -> None:
        """Print sentences, on a terminal with line ends between words."""
        if self.file.isatty():
            text = wrapped(visible_text(text), self.width)
        self.print(text, style=style, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible_text(text), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def plain(text: str, style: str = "") -> Text:
    """Make a line of any text, in a style, with its control characters shown as escapes."""
    return Text(visible(text), style=style)


def console() -> _Console:
    """Return a console for stdout that is wide enough for tables in a pipe."""
    is_given = sys.stdout.isatty() or "COLUMNS" in os.environ
    return _Console(width=max(_Console().width, LEAST_WIDTH) if is_given else PIPE_WIDTH)


def errors() -> _Console:
    """Return a console for stderr."""
    return _Console(stderr=True)


def is_animated(console: Console) -> bool:
    """Whether what changes can be shown; colours alone can be forced in a pipe, too."""
    return console.is_interactive and console.file.isatty()


@contextmanager
def progress(total: int, silent: bool) -> Iterator[Callable[[float, int, str], None]]:
    """Show a progress bar while the context is open, only on a terminal.

    Args:
        total: Total number of bytes.
        silent: Whether to suppress all output.

    Yields:
        A function to call with the number of bytes processed, the number of chunks embedded, and
        the current file.
    """
    err = errors()
    if silent or not total or not is_animated(err):
        yield lambda done, chunks, key: None
        return
    columns = (
        # On a narrow terminal, only what is told in words fits.
        *([BarColumn(bar_width=10)] if err.width >= _BAR_WIDTH else []),
        TaskProgressColumn(),
        TextColumn("{task.fields[chunks]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[file]}", markup=False, style="dim"),
    )
    count = 0
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("Indexing", total=total, file="", chunks="")

        def advance(done: float, chunks: int, key: str) -> None:
            nonlocal count
            count += chunks
            bar.update(task, advance=done, file=_end_of(key, err.width))
            share = bar.tasks[0].percentage / 100
            if count and share:
                # Files are divided as they are reached, so their chunks are not known before.
                told = f"{count:,} of about {max(count, round(count / share)):,} chunks"
                bar.update(task, chunks=told)

        yield advance


def _end_of(path: str, width: int) -> str:
    """Return as much of a path's end as fits behind a progress bar."""
    shown = visible(path)
    room = max(width - _BAR_WIDTH, 0)
    if cell_len(shown) <= room:
        return shown
    while shown and cell_len(shown) > room - 1:
        shown = shown[1:]
    return f"…{shown}" if room > 1 else ""


@contextmanager
def waiting(what: str, silent: bool = False) -> Iterator[None]:
    """Show that something takes a while, only on a terminal."""
    err = errors()
    if silent or not is_animated(err):
        yield
        return
    with err.status(plain(f"{what} ...")):
        yield


def note_to(silent: bool) -> Callable[[str], None]:
    """Make a function that prints progress messages on stderr."""
    err = errors()
    return lambda text: None if silent else err.say(text, "dim")


def print_json(value: object) -> None:
    """Print a value as JSON, which has no NaN."""
    with writing():
        sys.stdout.write(to_json(value, sys.stdout) + "\n")


def print_json_line(value: object) -> None:
    """Print a value as one line of JSON, at once, for a program that reads line by line."""
    with writing():
        sys.stdout.write(to_json(value, sys.stdout, indent=None) + "\n")
        sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a sentence or two."""
    console().say(text)


def print_sections(sections: Mapping[str, Any]) -> None:
    """Print names with values, one block per subject."""
    out = console()
    for title, lines in sections.items():
        out.print(title, style="bold")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(overflow="fold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in lines.items():
            table.add_row(plain(f"  {name}"), _told(value))
        out.print(table)


def size(count: int) -> str:
    """Return a number of bytes in words."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.3g} {unit}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _told(value: object) -> str:
    if isinstance(value, (list, tuple)):
        told = [visible(str(one)) for one in value[:LISTED]]
        if len(value) > LISTED:
            told.append(f"and {len(value) - LISTED} more; --json lists all")
        return ", ".join(told) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return visible(str(value))
