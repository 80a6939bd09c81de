"""Hybrid search in a large collection: the stores' own times, and what `HybridSearcher` adds.

    python -m benchmarks.hybrid [--documents N] [--stores NAME ...] [--json FILE]

Each store is filled and searched in a new process. The requests of every search are also sent
through the store's own client, with the same vectors and terms. Vectors are computed beforehand,
and both sides look the query's up. Servers are started from the binaries that WEAVIATE_BINARY and
QDRANT_BINARY name; without one, the store is left out. Linux only, for the memory of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.corpora import DEFAULT_DATA
from benchmarks.hybrid.measuring import measure
from benchmarks.hybrid.stores import BINARIES, STORES
from benchmarks.hybrid.texts import sample
from benchmarks.lexical_variants import in_new_process

DEFAULT = ["Edge", "Edge, optimized", "Qdrant", "Weaviate"]

MOST_ADDED = 1.0
"""Milliseconds that `HybridSearcher` may add to a search, in the median."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a limit was missed."""
    options = _options(arguments)
    texts = sample(options.data, options.documents, options.queries, options.dim, options.cache)
    print(_about(options))
    rows = []
    for name in options.stores:
        binary = BINARIES.get(name)
        if binary is not None and not os.environ.get(binary):
            print(f"{name}: left out, because {binary} names no server.")
            continue
        rows.append(in_new_process(measure, name, texts))
        print(f"{name}: done", file=sys.stderr)
    print(tables(rows))
    if options.json:
        about = {"python": platform.python_version(), "cpus": os.cpu_count()}
        sizes = {key: getattr(options, key) for key in ("documents", "queries", "dim")}
        report = {"about": _about(options), **about, **sizes, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    missed = failures(rows)
    print("\n".join(missed))
    return 1 if missed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hybrid")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=DEFAULT, metavar="NAME")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="corpora/ and text/")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the vectors in this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return parser.parse_args(arguments)


def _about(options: argparse.Namespace) -> str:
    return (
        f"{options.documents:,} documents of dim {options.dim:,}: paragraphs of shared/, all "
        f"embedded by the tiny model; {options.queries:,} questions, 200 candidates per retriever, "
        f"10 hits. {os.cpu_count()} CPUs, which servers and callers share."
    )


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Write the rows as two Markdown tables."""
    lines = [
        "",
        "| store | documents/s | then indexing, s | client MB | server MB | disk MB "
        "| own client, ms | searcher, ms | added, ms | processor time added, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['store']} | {row['documents_per_s']:,.0f} | {row['settle_s']:.0f} "
        f"| {_whole(row['client_mb'])} | {_whole(row['server_mb'])} | {_whole(row['disk_mb'])} "
        f"| {row['requests_ms']:.2f} | {row['search_ms']:.2f} | {row['added_ms']:.2f} "
        f"| {row['cpu_added_ms']:.2f} |"
        for row in rows
    ]
    lines += [
        "",
        "| store | callers | own client: p50, p95 ms | `search`: p50, p95 ms | ratio of p50 "
        "| `asearch`: p50, p95 ms | searches/s: own, `search`, `asearch` |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row["store"], at_once) for row in rows for at_once in row["callers"]]
    return "\n".join(lines)


def failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """List the limits that were missed."""
    return [
        f"{row['store']}: the searcher adds {row['added_ms']:.2f} ms to a search, more than "
        f"{MOST_ADDED} ms."
        for row in rows
        if row["added_ms"] >= MOST_ADDED
    ]


def _line(store: str, row: dict[str, Any]) -> str:
    kinds = [row.get(kind) for kind in ("requests", "search", "asearch")]
    own, search, asearch = (
        "" if one is None else f"{one['p50']:.1f}, {one['p95']:.1f}" for one in kinds
    )
    ratio = row["search"]["p50"] / row["requests"]["p50"]
    rates = ", ".join("" if one is None else f"{one['per_second']:.0f}" for one in kinds)
    return f"| {store} | {row['callers']} | {own} | {search} | {ratio:.2f} | {asearch} | {rates} |"


def _whole(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
