"""Options and settings that several commands have in common.

Knows typer; knows no command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["STORE", "Device", "Dtype", "Json", "Model", "Quiet", "Reranker", "State", "Store"]

STORE = Path(".qwen3-rag")

Store = Annotated[Path, typer.Option("--store", metavar="FOLDER", help="Where the index is.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="tiny|ID|FOLDER",
        help="Embedding model. Defaults to the index's, for a new one to "
        "Qwen/Qwen3-Embedding-0.6B; tiny is a small pair for trying things out.",
    ),
]
Reranker = Annotated[
    str | None,
    typer.Option(
        "--reranker",
        metavar="tiny|ID|FOLDER",
        help="Reranking model. Defaults to the index's, to tiny with --model tiny, else to "
        "Qwen/Qwen3-Reranker-0.6B.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; the best there is."),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", metavar="NAME", help="float32, bfloat16 or float16; what suits the device."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


class State:
    """What was said before the command's name."""

    debug = False
