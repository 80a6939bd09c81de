"""Converts measured runs to what a user waits for: the table of `docs/limits.md`.

python -m benchmarks.engine.minutes benchmarks/results/engine-*.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine.tables import table
from benchmarks.engine.timing import QWEN3_RAG

__all__ = ["minutes"]

CHUNKS = 10_000
DEPTH = 50  # hits that a search reranks

HEAD = (
    *("model", "numbers", "machine"),
    *("10,000 chunks of 180 tokens, minutes", "50 hits of 185 tokens, seconds"),
)


def minutes(results: list[dict[str, Any]]) -> str:
    """Render the table."""
    lines = []
    for result in results:
        machine, settings = result["machine"], result["settings"]
        if settings["compile"]:
            continue
        where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
        for model in ("0.6B", "tiny"):
            embedding = _each(result, "embedding", model, "mixed, about 180")
            reranking = _each(result, "reranking", model, "about 185")
            if embedding and reranking:
                dtype = "float32" if model == "tiny" else settings["dtype"]
                lines.append(
                    [
                        *(model, dtype, where),
                        f"{embedding * CHUNKS / 60:.0f}",
                        f"{reranking * DEPTH:.1f}",
                    ]
                )
    return table(HEAD, sorted(lines))


def _each(result: dict[str, Any], section: str, model: str, case: str) -> float | None:
    """Return the seconds of one text."""
    for row in result["rows"]:
        if (row["section"], row["model"], row.get("who"), row.get("setting")) == (
            *(section, model, QWEN3_RAG),
            "",
        ) and case in row["case"]:
            [count] = re.findall(r"^\d+", row["case"])
            return float(median(row["runs"])) / int(count)
    return None


def main() -> None:
    """Print the table for the files given."""
    print(minutes([json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]))


if __name__ == "__main__":
    main()
