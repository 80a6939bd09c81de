"""Prints results as tables and as JSON. Results go to stdout, progress to stderr.

Everything is printed through `_Console`, `plain` or `print_json`, which show control characters
instead of passing them on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qwen3_rag import Hit
from qwen3_rag_cli.terminal import can_show, to_json, visible, visible_text, writing

if TYPE_CHECKING:
    from qwen3_rag_cli.demo import Answer
    from qwen3_rag_cli.indexing import Summary

__all__ = [
    "hit_record",
    "note_to",
    "print_answer",
    "print_explained",
    "print_hits",
    "print_json",
    "print_line",
    "print_sections",
    "print_summary",
    "progress",
    "size",
    "summary_record",
    "waiting",
]

RANKINGS = ("dense", "bm25", "fused", "rerank")
SNIPPET = 160
PIPE_WIDTH = 120
SHOWN = 20


class _Console(Console):
    """A console that reads no markup, and shows control characters of strings as escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        with suppress(OSError) if self.stderr else writing():
            super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible_text(text), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def plain(text: str, style: str = "") -> Text:
    """Make a line of any text, in a style, with its control characters shown as escapes."""
    return Text(visible(text), style=style)


def console() -> Console:
    """Return a console for stdout that is wide enough for tables in a pipe."""
    is_given = sys.stdout.isatty() or "COLUMNS" in os.environ
    return _Console(width=None if is_given else PIPE_WIDTH)


def errors() -> Console:
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
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[chunks]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[file]}", markup=False, style="dim"),
    )
    count = 0
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("Indexing", total=total, file="", chunks="")

        def advance(done: float, chunks: int, key: str) -> None:
            nonlocal count
            count += chunks
            bar.update(task, advance=done, file=visible(key))
            share = bar.tasks[0].percentage / 100
            if count and share:
                # Files are divided as they are reached, so their chunks are not known before.
                told = f"{count:,} of about {max(count, round(count / share)):,} chunks"
                bar.update(task, chunks=told)

        yield advance


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
    return lambda text: None if silent else err.print(text, style="dim", soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as JSON, which has no NaN."""
    with writing():
        sys.stdout.write(to_json(value, sys.stdout) + "\n")
        sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a sentence or two."""
    console().print(text, soft_wrap=True)


def summary_record(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain values."""
    record = asdict(summary)
    for name in ("skipped", "notes"):
        record[name] = [{"path": entry["key"], "reason": entry["reason"]} for entry in record[name]]
    return record


def print_summary(summary: Summary, place: object) -> None:
    """Print what an index run did."""
    out = console()
    out.print(
        f"{_counted(summary.indexed, 'file')} indexed, {summary.unchanged} unchanged, "
        f"{summary.removed} removed; {_counted(summary.embedded, 'chunk')} embedded. The index at "
        f"{place} has {_counted(summary.chunks, 'chunk')}.",
        soft_wrap=True,
    )
    if summary.renewed:
        out.print(
            f"Renewed the BM25 terms of {_counted(summary.renewed, 'chunk')}, which were of "
            "another release; nothing was embedded for that.",
            soft_wrap=True,
        )
    for title, entries in (("Skipped", summary.skipped), ("Read with a remark", summary.notes)):
        for entry in entries[:SHOWN]:
            out.print(f"{title}: {visible(entry.key)}: {entry.reason}", soft_wrap=True)
        if len(entries) > SHOWN:
            out.print(f"{title}: {len(entries) - SHOWN} more; --json lists all.")


def hit_record(hit: Hit) -> dict[str, Any]:
    """Return a hit as plain values."""
    return {
        "id": hit.id,
        **{name: hit.payload.get(name) for name in ("path", "line", "end_line", "heading", "kind")},
        "score": hit.score,
        "ranks": {name: asdict(entry) for name, entry in hit.ranks.items()},
        "text": hit.text,
    }


def print_hits(hits: Sequence[Hit]) -> None:
    """Print hits: each retriever's rank, the scores, where the text is, and how it begins."""
    out = console()
    if not hits:
        out.print("Nothing found.")
        return
    columns = "{:>3}  {:>5}  {:>4}  {:>6}  {:>6}  {}"
    out.print(columns.format("", *RANKINGS, "file and line"), style="bold")
    for place, hit in enumerate(hits, 1):
        line = columns.format(place, *_rank_cells(hit), where(hit))
        out.print(line, style="bold", soft_wrap=True)
        # On a separate line, so that it fits in a narrow terminal.
        for text, style in ((str(hit.payload.get("heading") or ""), ""), (snippet(hit), "dim")):
            if text:
                out.print(Padding(plain(text, style), (0, 0, 0, 5)))
    out.print("dense and bm25 show ranks, fused and rerank show scores.", style="dim")


def print_explained(hits: Sequence[Hit]) -> None:
    """Print each hit with its full text, and its rank and score in every list."""
    out = console()
    if not hits:
        out.print("Nothing found.")
    for place, hit in enumerate(hits, 1):
        out.print(f"{place}. {where(hit)}", style="bold")
        for name in RANKINGS:
            entry = hit.ranks.get(name)
            told = f"rank {entry.rank}, score {entry.score:.6f}" if entry else "not in this list"
            out.print(f"   {name:6} {told}")
        out.print(hit.text, soft_wrap=True)
        out.print()


def print_sections(sections: Mapping[str, Any]) -> None:
    """Print names with values, one block per subject."""
    out = console()
    for title, lines in sections.items():
        out.print(title, style="bold")
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in lines.items():
            table.add_row(plain(f"  {name}"), _told(value))
        out.print(table)


def print_answer(answer: Answer) -> None:
    """Print one question with its rankings side by side."""
    out = console()
    out.print(f"\n{answer.question}", style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("", no_wrap=True)
    for name in answer.rankings:
        table.add_column(name, ratio=1, overflow="fold")
    for place in range(max(map(len, answer.rankings.values()))):
        row = [
            _demo_cell(ranking[place], answer.expected) if place < len(ranking) else plain("")
            for ranking in answer.rankings.values()
        ]
        table.add_row(str(place + 1), *row)
    out.print(table)
    verdict = (
        f"The right section, {answer.expected}, is number {answer.place}."
        if answer.right
        else f"The right section, {answer.expected}, is not among the first three."
    )
    out.print(verdict, style="green" if answer.right else "red")


def where(hit: Hit) -> str:
    """Return the file and lines of a hit."""
    line, end = hit.payload.get("line"), hit.payload.get("end_line")
    if line is None:  # a document that another program added
        return visible(str(hit.payload.get("path", hit.id)))
    lines = f"{line}-{end}" if end and end != line else str(line)
    return visible(f"{hit.payload.get('path', hit.id)}:{lines}")


def snippet(hit: Hit) -> str:
    """Return the beginning of a hit's text as one line, without its headings."""
    text = " ".join(
        line for line in hit.text.split("\n\n", 1)[-1].split("\n") if not line.startswith("#")
    )
    text = " ".join(text.split())
    return text if len(text) <= SNIPPET else f"{text[:SNIPPET]}{_ellipsis()}"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.3g} {unit}"


def _ellipsis() -> str:
    return "…" if can_show("…", sys.stdout) else "..."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rank_cells(hit: Hit) -> list[str]:
    ranks = [str(hit.ranks[name].rank) if name in hit.ranks else "-" for name in RANKINGS[:2]]
    scores = [f"{hit.ranks[name].score:.4f}" if name in hit.ranks else "-" for name in RANKINGS[2:]]
    return ranks + scores


def _demo_cell(section: str, expected: str) -> Text:
    # Without the suffix, a file's name fits in a column of a narrow terminal.
    return plain(section.replace(".md:", ":"), "green" if section == expected else "")


def _told(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(visible(str(one)) for one in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return visible(str(value))
