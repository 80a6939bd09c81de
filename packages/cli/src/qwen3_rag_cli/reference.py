"""Writes the commands' help into the documentation.

python -m qwen3_rag_cli.reference docs/command-line.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from typer.testing import CliRunner

from qwen3_rag_cli.app import app

__all__ = ["reference", "with_reference"]

COMMANDS = (
    "",
    "index",
    "search",
    "reindex",
    "doctor",
    "demo",
    "models",
    "cache info",
    "cache clear",
    "train embed",
    "train rerank",
    "merge",
)
MARK = "`python -m qwen3_rag_cli.reference docs/command-line.md` writes it. -->\n"
WIDTH = "96"


def reference() -> str:
    """Return the help of every command as Markdown."""
    runner = CliRunner(env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH})
    parts = []
    for name in COMMANDS:
        arguments = [*name.split(), "--help"]
        said = runner.invoke(app, arguments, prog_name="qwen3-rag").output
        lines = [line.rstrip() for line in said.strip().split("\n")]
        title = " ".join(["qwen3-rag", *name.split()])
        parts.append(f"### {title}\n\n```text\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


def with_reference(page: str) -> str:
    """Return the page with the help in its last section."""
    before, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"The page lacks the line that ends in {MARK!r}.")
    return f"{before}{mark}\n{reference()}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_reference(path.read_text(encoding="utf-8")), encoding="utf-8")
