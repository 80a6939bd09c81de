"""The command `reindex`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.completing import EMBEDDERS, one_of
from qwen3_rag_cli.options import MODEL_METAVAR, Json, Quiet, Reranker, Wait, with_runtime
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["reindex_command"]


@with_runtime()
def reindex_command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Address of the collection to read.")
    ],
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="Address of the new collection.", show_default=False),
    ] = None,
    lexical: Annotated[
        bool,
        typer.Option(
            "--lexical", help="Renew the BM25 terms in SOURCE itself; nothing is embedded."
        ),
    ] = False,
    alias: Annotated[
        str | None,
        typer.Option(
            "--alias", metavar="NAME", help="Alias to move to TARGET when it is complete."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar=MODEL_METAVAR,
            help="Embedding model of TARGET (default: the model of SOURCE).",
            autocompletion=one_of(*EMBEDDERS),
        ),
    ] = None,
    reranker: Reranker = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="N", help="Vector size (default: the model's)."),
    ] = None,
    short_dim: Annotated[
        int | None,
        typer.Option(
            "--short-dim",
            metavar="N",
            help="Size of the short vectors that candidates are found by, 0 for none (default: "
            "that of SOURCE).",
        ),
    ] = None,
    wait: Wait = 0.0,
    runtime: Runtime = DEFAULT_RUNTIME,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fill a new collection with the documents of another one, embedded by another model.

    SOURCE can be of any program. If a run is interrupted, run the command again to continue.
    """
    from qwen3_rag.errors import InputError
    from qwen3_rag_cli import console
    from qwen3_rag_cli.places import Place
    from qwen3_rag_cli.reindexing import Choice, reindexed, renewed

    if lexical == (target is not None):
        raise InputError("Give SOURCE and TARGET, or SOURCE and --lexical.")
    progress = not (quiet or json_)
    if target is None:
        if model or reranker or dim or alias or short_dim is not None:
            raise InputError("`--lexical` embeds nothing and makes no collection: it stands alone.")
        done = renewed(Place.of(source), wait=wait, progress=progress)
    else:
        choice = Choice(model, reranker, dim, short_dim, alias, runtime)
        done = reindexed(Place.of(source), Place.of(target), choice, progress=progress)
    if json_:
        console.print_json(done)
    elif not quiet:
        console.print_sections({"reindex": {k: v for k, v in done.items() if v is not None}})
