"""Prints the results of commands, as tables; and returns them as plain values for JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qwen3_rag import Hit
from qwen3_rag_cli.console import console, counted, plain, print_sections, size
from qwen3_rag_cli.sections import PLACES
from qwen3_rag_cli.terminal import can_show, visible

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from qwen3_rag_cli.demo import Answer
    from qwen3_rag_cli.indexing import Summary
    from qwen3_rag_cli.listing import IndexedFile
    from qwen3_rag_cli.places import Place
    from qwen3_rag_cli.selection import LeftOut, Selection

__all__ = [
    "hit_record",
    "nothing_in",
    "print_answer",
    "print_description",
    "print_explained",
    "print_files",
    "print_hits",
    "print_summary",
    "print_update",
    "summary_record",
    "told_left_out",
]

RANKINGS = ("dense", "bm25", "fused", "rerank")
SNIPPET = 160

#: How paths look.
PATH = "cyan"
SHOWN = 20

#: Why something is not indexed, in the order of the summary, and how it can be.
LEFT_OUT = {
    "extra": ("", ""),
    "ignored": ("ignored by {detail}", " (--no-ignore takes them)"),
    "excluded": ("that --exclude matches", ""),
    "include": ("that --include does not match", ""),
    "hidden": ("with a hidden name", " (name them to take them)"),
    "tools": ("of programs", " (name them to take them)"),
    "repository": ("belonging to another repository", " (name them to take them)"),
    "lock": ("with locked versions", " (name or --include them to take them)"),
    "minified": ("of minified code", " (name or --include them to take them)"),
    "generated": ("of generated code", " (name or --include them to take them)"),
    "format": ("of no known format", ""),
    "link": ("by links that lead {detail}", ""),
}


def summary_record(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain values."""
    record = asdict(summary)
    for name in ("skipped", "notes"):
        record[name] = [{"path": entry["key"], "reason": entry["reason"]} for entry in record[name]]
    return record


def print_summary(summary: Summary, place: Place) -> None:
    """Print what an index run did."""
    out = console()
    out.say(
        f"{counted(summary.indexed, 'file')} indexed, {summary.unchanged} unchanged, "
        f"{summary.removed} removed; {counted(summary.embedded, 'chunk')} embedded. The index at "
        f"{visible(str(place))} has {counted(summary.chunks, 'chunk')}."
    )
    if summary.renewed:
        out.say(
            f"Renewed the BM25 terms of {counted(summary.renewed, 'chunk')}, which were of "
            "another release; nothing was embedded for that."
        )
    if summary.damage:
        out.say(
            f"The index was damaged ({visible(summary.damage)}) and was made anew from the given "
            "paths. What it had of others has to be indexed again."
        )
    for line in told_left_out(summary.left_out, summary.unused, place.base.shown):
        out.say(visible(line))
    if summary.kept:
        out.say(
            f"Kept in the index: {counted(summary.kept, 'file')}, on the disk but not taken any "
            "more. --prune removes what is kept."
        )
    for title, entries in (("Skipped", summary.skipped), ("Read with a remark", summary.notes)):
        for entry in entries[:SHOWN]:
            out.say(f"{title}: {visible(place.base.shown(entry.key))}: {visible(entry.reason)}")
        if len(entries) > SHOWN:
            out.say(f"{title}: {len(entries) - SHOWN} more; --json lists all.")


def nothing_in(
    paths: Sequence[Path], selection: Selection, shown: Callable[[str], str] = str
) -> str:
    """Return the message of a run that takes nothing."""
    told = [
        f"There is nothing to index in {', '.join(repr(str(path)) for path in paths)}: no file of "
        "a known format that rules and patterns let through.",
        *told_left_out(selection.left_out, selection.unused, shown),
        "Name files, or say which to index with --include GLOB.",
    ]
    return "\n".join(told)


def told_left_out(
    left_out: Sequence[LeftOut], unused: Sequence[str], shown: Callable[[str], str] = str
) -> list[str]:
    """Say in a line for each reason what is not indexed, and how it can be.

    Args:
        left_out: What is left out.
        unused: Options with patterns that nothing matches.
        shown: Makes a path to show of a path in the index.
    """
    by_reason: dict[str, list[LeftOut]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one)
    lines = [f"{option} matches nothing." for option in unused]
    for reason, (what, remedy) in LEFT_OUT.items():
        if ones := by_reason.get(reason):
            lines.append(f"Not taken: {_left_out_line(reason, ones, what, shown)}{remedy}")
    return lines


def _left_out_line(
    reason: str, ones: Sequence[LeftOut], what: str, shown: Callable[[str], str]
) -> str:
    ones = sorted(ones, key=lambda one: (-one.files - one.folders, one.detail))
    if reason == "extra":
        suffixes = [f"{one.files:,} {one.detail.split()[0]}" for one in ones]
        packages = sorted({one.detail.split()[1] for one in ones})
        return ", ".join(suffixes) + f": pip install {' '.join(map(json.dumps, packages))}"
    if reason == "format":
        told = [f"{one.files:,} {one.detail or 'without a suffix'}" for one in ones[:SHOWN]]
        if len(ones) > SHOWN:
            told.append(f"and {sum(one.files for one in ones[SHOWN:]):,} more")
        return f"{counted(sum(one.files for one in ones), 'file')} {what} ({', '.join(told)})"
    told = []
    for one in ones:
        counts = [counted(one.files, "file")] * bool(one.files)
        counts += [counted(one.folders, "folder")] * bool(one.folders)
        words = what.format(detail=one.detail)
        told.append(f"{' and '.join(counts)} {words}, such as {shown(one.examples[0])}")
    return "; ".join(told)


def print_update(summary: Summary) -> None:
    """Print what an update changed, on one line with the time."""
    told = [counted(summary.indexed, "file") + " indexed", f"{summary.removed} removed"]
    if summary.skipped:
        told.append(f"{len(summary.skipped)} skipped")
    console().say(
        f"{datetime.now():%H:%M:%S} {', '.join(told)}; {counted(summary.embedded, 'chunk')} "
        f"embedded, {counted(summary.chunks, 'chunk')} in the index."
    )
    sys.stdout.flush()


def hit_record(hit: Hit) -> dict[str, Any]:
    """Return a hit as plain values."""
    return {
        "id": hit.id,
        "where": where(hit),
        **{name: hit.payload.get(name) for name in ("path", "line", "end_line", "heading", "kind")},
        # Page, sheet, row and the like, with the words for them.
        **{name: hit.payload[name] for name in PLACES if name in hit.payload},
        "score": hit.score,
        "ranks": {name: asdict(entry) for name, entry in hit.ranks.items()},
        "text": hit.text,
    }


def print_hits(hits: Sequence[Hit], shown: Callable[[str], str] = str) -> None:
    """Print hits: each retriever's rank, the scores, where the text is, and how it begins.

    Args:
        hits: The hits, best first.
        shown: Makes a path to show of a path in the index.
    """
    out = console()
    if not hits:
        out.print("Nothing found.")
        return
    columns = "{:>3}  {:>5}  {:>4}  {:>6}  {:>6}  "
    _print_row(out, columns.format("", *RANKINGS), "file and place", "bold", "bold")
    for place, hit in enumerate(hits, 1):
        _print_row(out, columns.format(place, *_rank_cells(hit)), where(hit, shown), "", PATH)
        # On a separate line, so that it fits in a narrow terminal.
        for text, style in ((str(hit.payload.get("heading") or ""), ""), (snippet(hit), "dim")):
            if text:
                out.print(Padding(plain(text, style), (0, 0, 0, 5), expand=False))
    out.say("dense and bm25 show ranks, fused and rerank show scores.", "dim")


def print_explained(hits: Sequence[Hit], shown: Callable[[str], str] = str) -> None:
    """Print each hit with its full text, and its rank and score in every list."""
    out = console()
    if not hits:
        out.print("Nothing found.")
    for place, hit in enumerate(hits, 1):
        line = plain(f"{place}. ", "bold")
        line.append(plain(where(hit, shown), PATH))
        out.print(line, soft_wrap=True)
        for name in RANKINGS:
            entry = hit.ranks.get(name)
            told = f"rank {entry.rank}, score {entry.score:.6f}" if entry else "not in this list"
            out.print(f"   {name:6} {told}")
        out.print(hit.text, soft_wrap=True)
        out.print()


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


def print_files(files: Sequence[IndexedFile], shown: Callable[[str], str]) -> None:
    """Print the files in an index, and how many there are."""
    out = console()
    width = max((len(file.kind) for file in files), default=0)
    out.print(f"{'chunks':>7}  {'kind':<{width}}  file", style="bold")
    for file in files:
        line = plain(f"{file.chunks:>7,}  {file.kind:<{width}}  ")
        line.append(plain(shown(file.path), PATH))
        if not file.complete:
            line.append("  (incomplete: run `qwen3-rag index` again)")
        out.print(line, soft_wrap=True)
    chunks = sum(file.chunks for file in files)
    out.print(f"{counted(len(files), 'file')}, {counted(chunks, 'chunk')}.", style="dim")


def print_description(found: Mapping[str, Any]) -> None:
    """Print what `listing.description` found."""
    told: dict[str, Any] = {}
    for name, value in found.items():
        match name:
            case "store" | "overlap":
                pass  # beside others
            case "kinds" | "bm25":
                told[name] = ", ".join(f"{key} {part}" for key, part in value.items())
            case "reranker" if value is None:
                told[name] = "none; name one with --reranker"
            case "chunk_tokens":
                by = f"{value} tokens, overlap {found['overlap']}" if value else "another program"
                told["chunking"] = by
            case "bytes":
                told["size on disk"] = size(value)
            case "changed":
                moment = datetime.fromisoformat(value)
                told["last change"] = f"{moment:%Y-%m-%d %H:%M} ({_age(moment)})"
            case _:
                told[name.replace("_", " ")] = value
    print_sections({found["store"]: told})


def where(hit: Hit, shown: Callable[[str], str] = str) -> str:
    """Return the file of a hit, and the lines, page or the like in it.

    Args:
        hit: The hit.
        shown: Makes a path to show of a path in the index.
    """
    line, end = hit.payload.get("line"), hit.payload.get("end_line")
    path = hit.payload.get("path")
    place = visible(str(hit.id) if path is None else shown(str(path)))
    if "place" in hit.payload:
        return f"{place} {visible(str(hit.payload['place']))}"
    if line is None:  # a document that another program added
        return place
    return f"{place}:{line}-{end}" if end and end != line else f"{place}:{line}"


def snippet(hit: Hit) -> str:
    """Return the beginning of a hit's text as one line, without its headings."""
    text = " ".join(
        line for line in hit.text.split("\n\n", 1)[-1].split("\n") if not line.startswith("#")
    )
    text = " ".join(text.split())
    return text if len(text) <= SNIPPET else f"{text[:SNIPPET]}{_ellipsis()}"


def _print_row(out: Console, cells: str, path: str, style: str, path_style: str) -> None:
    """Print a line of a table, on a narrow terminal with its last column below the others."""
    line, last = plain(cells, style), plain(path, path_style)
    if out.is_terminal and line.cell_len + last.cell_len > out.width:
        line.append("\n     ")
    out.print(line.append(last), soft_wrap=True)


def _rank_cells(hit: Hit) -> list[str]:
    ranks = [str(hit.ranks[name].rank) if name in hit.ranks else "-" for name in RANKINGS[:2]]
    scores = [f"{hit.ranks[name].score:.4f}" if name in hit.ranks else "-" for name in RANKINGS[2:]]
    return ranks + scores


def _demo_cell(section: str, expected: str) -> Text:
    # Without the suffix, a file's name fits in a column of a narrow terminal.
    return plain(section.replace(".md:", ":"), "green" if section == expected else "")


def _age(moment: datetime) -> str:
    """Return how long ago something was, in words."""
    minutes = (datetime.now(moment.tzinfo) - moment).total_seconds() / 60
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= length:
            return f"{counted(int(minutes / length), unit)} ago"
    return "just now"


def _ellipsis() -> str:
    return "…" if can_show("…", sys.stdout) else "..."
