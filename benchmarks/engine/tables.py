"""The results of a run as Markdown tables, aligned for terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.engine.timing import QWEN3_RAG, Row, ratio

__all__ = ["ratios", "table", "tables"]


def tables(result: dict[str, Any]) -> str:
    """Render all tables of a run, each under its heading."""
    parts = []
    for section, render in _RENDER.items():
        by_model: dict[str, list[Row]] = {}
        for row in result["rows"]:
            if row["section"] == section:
                by_model.setdefault(row["model"], []).append(row)
        if section in ("memory", "cold start") and by_model:
            by_model = {"": [row for rows in by_model.values() for row in rows]}
        for model, rows in by_model.items():
            title = section.capitalize() + (f", {model}" if model else "")
            parts.append(f"### {title}\n\n{render(rows, result)}")
    return "\n\n".join(parts)


def ratios(rows: Sequence[Row]) -> Iterator[tuple[Row, float]]:
    """Yield each row of a peer with its time relative to qwen3-rag."""
    timed = [row for row in rows if row.get("runs")]
    own = {_key(row): row for row in timed if row["who"] == QWEN3_RAG}
    for row in timed:
        if row["who"] != QWEN3_RAG and _key(row) in own:
            yield row, ratio(row, own[_key(row)])


def _key(row: Row) -> tuple[str, str, str]:
    return row["section"], row["model"], row["case"]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Render a table."""
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (head, rule, *lines)
    )


def _who(row: Row) -> str:
    return f"{row['who']}, {row['setting']}" if row.get("setting") else str(row["who"])


def _throughput(rows: Sequence[Row], result: dict[str, Any]) -> str:
    """Render a table of embedding or reranking."""
    peaks = [row["flops"] for row in result["rows"] if row["section"] == "matmul peak"]
    shows_share = rows[0]["section"] == "embedding" and rows[0]["model"] != "tiny"
    times = {id(row): value for row, value in ratios(rows)}
    lines = []
    case = ""
    for row in rows:
        line = [row["case"] if row["case"] != case else "", _who(row)]
        case = row["case"]
        if row["runs"]:
            speed = row["tokens"] / median(row["runs"])
            faster = f"{times[id(row)]:.2f} x" if id(row) in times else ""
            line += [f"{median(row['runs']):.2f}", f"{speed:,.0f}", faster]
            line += [f"{2 * row['parameters'] * speed / peaks[0]:.0%}"] if shows_share else []
        lines.append(line + [""] * (5 + shows_share - len(line)))
    head = ["case", "implementation", "seconds", "tokens/s", "qwen3-rag is faster by"]
    return table([*head, "of the matmul peak"] if shows_share else head, lines)


def _peaks(rows: Sequence[Row], result: dict[str, Any]) -> str:
    lines = [[row["case"], f"{row['flops'] / 1e12:.2f}"] for row in rows]
    return table(["matrix product", "TFLOP/s"], lines)


def _seconds(rows: Sequence[Row], result: dict[str, Any]) -> str:
    """Render a table of cold starts or imports."""
    times = {id(row): value for row, value in ratios(rows)}
    lines = [
        [
            row["model"] or row["case"],
            _who(row),
            f"{median(row['runs']):.2f}",
            f"{times[id(row)]:.2f} x" if id(row) in times else "",
        ]
        for row in rows
    ]
    return table(["case", "implementation", "seconds", "relative to qwen3-rag"], lines)


def _concurrency(rows: Sequence[Row], result: dict[str, Any]) -> str:
    lines = [[row["case"], row["who"], f"{median(row['runs']):.3f}", ""] for row in rows]
    own = [median(row["runs"]) for row in rows if row["who"] == QWEN3_RAG]
    in_turn, at_once, alone, batch, longest = own
    for line, row in zip(lines, rows, strict=True):
        if "callers at once" in row["case"]:
            line[3] = f"{in_turn / at_once:.2f} x the throughput"
        elif row["who"] != QWEN3_RAG:
            times = median(row["runs"])
            line[3] = (
                f"qwen3-rag is faster by {times / in_turn:.2f} x; "
                f"at once by {times / at_once:.2f} x"
            )
        elif "bulk job" in row["case"]:
            line[3] = f"waited {(longest - alone) / batch:.2f} batches"
    return table(["case", "implementation", "seconds", ""], lines)


def _memory(rows: Sequence[Row], result: dict[str, Any]) -> str:
    lines = [
        [
            row["model"],
            row["case"],
            _who(row),
            f"{row['before_mb']:,.0f}",
            f"{row['above_mb']:,.0f}",
        ]
        for row in rows
    ]
    return table(["model", "work", "implementation", "MB loaded", "MB added at the peak"], lines)


_RENDER: dict[str, Callable[[Sequence[Row], dict[str, Any]], str]] = {
    "matmul peak": _peaks,
    "embedding": _throughput,
    "reranking": _throughput,
    "concurrency": _concurrency,
    "memory": _memory,
    "cold start": _seconds,
    "import": _seconds,
}
