"""A bar chart of the ratios. Needs matplotlib, which is not installed by default.

python -m benchmarks.engine.plot benchmarks/results/NAME.json NAME.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.engine.tables import ratios

__all__ = ["plot"]


def plot(result: dict[str, Any], file: Path) -> None:
    """Plot the time of each peer relative to qwen3-rag, for embedding and reranking."""
    try:
        from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        print("No plot without matplotlib: pip install matplotlib", file=sys.stderr)
        return
    bars = [
        (f"{row['model']}: {row['case']}\n{row['who']} {row['setting']}", value)
        for row, value in ratios(result["rows"])
        if row["section"] in ("embedding", "reranking")
    ][::-1]
    figure = Figure(figsize=(9, 1 + 0.4 * len(bars)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh([name for name, _ in bars], [value for _, value in bars])
    axes.bar_label(drawn, fmt="%.2f", padding=2)
    axes.margins(x=0.1)
    axes.axvline(1, color="black", linewidth=1)
    axes.tick_params(axis="y", labelsize=7)
    settings = result["settings"]
    mode = "compiled" if settings["compile"] else "as installed"
    axes.set_title(f"Time relative to qwen3-rag ({mode}), {result['machine']['cpu']}")
    figure.savefig(file, dpi=120)


def main() -> None:
    """Plot the results of a file."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    plot(json.loads(source.read_text(encoding="utf-8")), target)


if __name__ == "__main__":
    main()
