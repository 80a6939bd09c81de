"""Command-line options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "MODEL_METAVAR",
    "STORE",
    "STORE_METAVAR",
    "Device",
    "Dtype",
    "Json",
    "Model",
    "Quiet",
    "Reranker",
    "Store",
    "Tenant",
]

STORE = ".qwen3-rag"
MODEL_METAVAR = "tiny|ID|FOLDER"

STORE_METAVAR = "FOLDER|ADDRESS"

Store = Annotated[
    str,
    typer.Option(
        "--store",
        metavar=STORE_METAVAR,
        help="Folder of the index, or a collection: qdrant://HOST/NAME, weaviate://HOST/NAME, "
        "milvus://HOST/NAME, milvus:FILE.db/NAME.",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        help="Tenant whose files these are, in a collection with tenants.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar=MODEL_METAVAR,
        help="Embedding model (default: the index's; for a new index "
        "Qwen/Qwen3-Embedding-0.6B). tiny is a small pair of models for trying things out.",
    ),
]
Reranker = Annotated[
    str | None,
    typer.Option(
        "--reranker",
        metavar=MODEL_METAVAR,
        help="Reranker (default: the index's; tiny with --model tiny, otherwise "
        "Qwen/Qwen3-Reranker-0.6B).",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1 or mps (default: the best one available).",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="float32, bfloat16 or float16 (default: depends on the device).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
