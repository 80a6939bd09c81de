"""Prints results as tables and as JSON. Results go to stdout, progress to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qwen3_rag import Hit

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


def console() -> Console:
    """Return a console for stdout that is wide enough for tables in a pipe."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


@contextmanager
def progress(total: int, silent: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar while the context is open, only on a terminal.

    Args:
        total: Total number of bytes.
        silent: Whether to suppress all output.

    Yields:
        A function to call with the number of bytes processed and the current file.
    """
    err = Console(stderr=True)
    if silent or not total or not err.is_terminal:
        yield lambda done, key: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[file]}", style="dim"),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("Indexing", total=total, file="")
        yield lambda done, key: bar.update(task, advance=done, file=escape(key[-60:]))


@contextmanager
def waiting(what: str, silent: bool = False) -> Iterator[None]:
    """Show that something takes a while, only on a terminal."""
    err = Console(stderr=True)
    if silent or not err.is_terminal:
        yield
        return
    with err.status(f"{escape(what)} ..."):
        yield


def note_to(silent: bool) -> Callable[[str], None]:
    """Make a function that prints progress messages on stderr."""
    err = Console(stderr=True, highlight=False)
    return lambda text: None if silent else err.print(text, markup=False, style="dim")


def print_json(value: object) -> None:
    """Print a value as JSON, which has no NaN."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


def print_line(text: str) -> None:
    """Print a sentence or two."""
    console().print(text, markup=False, soft_wrap=True)


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
        markup=False,
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
            out.print(f"{title}: {entry.key}: {entry.reason}", markup=False, soft_wrap=True)
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
        out.print(line, style="bold", markup=False, soft_wrap=True)
        # On a separate line, so that it fits in a narrow terminal.
        for text, style in ((str(hit.payload.get("heading") or ""), ""), (snippet(hit), "dim")):
            if text:
                out.print(Padding(Text(text, style=style), (0, 0, 0, 5)))
    out.print("dense and bm25 show ranks, fused and rerank show scores.", style="dim")


def print_explained(hits: Sequence[Hit]) -> None:
    """Print each hit with its full text, and its rank and score in every list."""
    out = console()
    if not hits:
        out.print("Nothing found.")
    for place, hit in enumerate(hits, 1):
        out.print(f"{place}. {where(hit)}", style="bold", markup=False)
        for name in RANKINGS:
            entry = hit.ranks.get(name)
            told = f"rank {entry.rank}, score {entry.score:.6f}" if entry else "not in this list"
            out.print(f"   {name:6} {told}")
        out.print(hit.text, markup=False, soft_wrap=True)
        out.print()


def print_sections(sections: Mapping[str, Any]) -> None:
    """Print names with values, one block per subject."""
    out = console()
    for title, lines in sections.items():
        out.print(title, style="bold", markup=False)
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in lines.items():
            table.add_row(f"  {escape(name)}", escape(_told(value)))
        out.print(table)


def print_answer(answer: Answer) -> None:
    """Print one question with its rankings side by side."""
    out = console()
    out.print(f"\n{answer.question}", style="bold", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("", no_wrap=True)
    for name in answer.rankings:
        table.add_column(name, ratio=1, overflow="fold")
    for place in range(max(map(len, answer.rankings.values()))):
        row = [
            _demo_cell(ranking[place], answer.expected) if place < len(ranking) else ""
            for ranking in answer.rankings.values()
        ]
        table.add_row(str(place + 1), *row)
    out.print(table)
    verdict = (
        f"The right section, {answer.expected}, is number {answer.place}."
        if answer.right
        else f"The right section, {answer.expected}, is not among the first three."
    )
    out.print(verdict, markup=False, style="green" if answer.right else "red")


def where(hit: Hit) -> str:
    """Return the file and lines of a hit."""
    line, end = hit.payload.get("line"), hit.payload.get("end_line")
    if line is None:  # a document that another program added
        return str(hit.payload.get("path", hit.id))
    lines = f"{line}-{end}" if end and end != line else str(line)
    return f"{hit.payload.get('path', hit.id)}:{lines}"


def snippet(hit: Hit) -> str:
    """Return the beginning of a hit's text as one line, without its headings."""
    text = " ".join(
        line for line in hit.text.split("\n\n", 1)[-1].split("\n") if not line.startswith("#")
    )
    text = " ".join(text.split())
    return text if len(text) <= SNIPPET else f"{text[:SNIPPET]}…"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.3g} {unit}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rank_cells(hit: Hit) -> list[str]:
    ranks = [str(hit.ranks[name].rank) if name in hit.ranks else "-" for name in RANKINGS[:2]]
    scores = [f"{hit.ranks[name].score:.4f}" if name in hit.ranks else "-" for name in RANKINGS[2:]]
    return ranks + scores


def _demo_cell(section: str, expected: str) -> str:
    # Without the suffix, a file's name fits in a column of a narrow terminal.
    text = escape(section.replace(".md:", ":"))
    return f"[green]{text}[/green]" if section == expected else text


def _told(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)
