"""Writes the page with the help of all commands.

python -m qwen3_rag_cli.reference docs/command-line-help.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from typer.testing import CliRunner

from qwen3_rag_cli.app import app

__all__ = ["reference"]

COMMANDS = (
    "",
    "index",
    "search",
    "ask",
    "serve",
    "list",
    "remove",
    "info",
    "reindex",
    "doctor",
    "demo",
    "models",
    "cache info",
    "cache clear",
    "eval run",
    "train embed",
    "train rerank",
    "merge",
)
WIDTH = "96"
HEAD = """\
# The help of every command

[The command line](command-line.md) says what the commands are for. This page is the output of
`--help`; `python -m qwen3_rag_cli.reference docs/command-line-help.md` writes it.
"""


def reference() -> str:
    """Return the page."""
    runner = CliRunner(env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH})
    parts = [HEAD]
    for name in COMMANDS:
        arguments = [*name.split(), "--help"]
        said = runner.invoke(app, arguments, prog_name="qwen3-rag").output
        lines = [line.rstrip() for line in said.strip().split("\n")]
        title = " ".join(["qwen3-rag", *name.split()])
        parts.append(f"## {title}\n\n```text\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
