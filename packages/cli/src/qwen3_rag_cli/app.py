"""The console command: options in, rooms called, exit codes out.

Knows typer and what each command is called with; knows nothing of how it is done. Imports what a
command needs inside it, so that help and usage errors load neither torch nor the core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen3_rag_cli.adapting import merge_command, train
from qwen3_rag_cli.exits import reported
from qwen3_rag_cli.options import (
    STORE,
    Device,
    Dtype,
    Json,
    Model,
    Quiet,
    Reranker,
    State,
    Store,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="qwen3-rag",
    help="Index a folder and search it with Qwen3-Embedding and Qwen3-Reranker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: the same on a terminal, in a pipe and in the documentation.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from qwen3_rag_cli import __version__

        typer.echo(f"qwen3-rag {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show where errors come from.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Index a folder and search it with Qwen3-Embedding and Qwen3-Reranker."""
    State.debug = debug


@app.command("index", short_help="Bring an index up to date with files.")
def index_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Folders and files.")],
    store: Store = STORE,
    model: Model = None,
    reranker: Reranker = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="N", help="Size of the vectors; the model's own."),
    ] = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option("--chunk-tokens", metavar="N", help="Most tokens of a chunk; 384."),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", metavar="N", help="Tokens that neighbours may share; 48."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Files to take in folders, instead of Markdown, text and source code. "
            "May be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="GLOB", help="Files and folders to leave out. Same."),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring an index up to date with files: new and changed ones in, deleted ones out.

    Markdown, text and source code. Interrupted at any moment, the next run takes up from there.
    """
    with reported(debug=State.debug):
        from qwen3_rag_cli import commands

        commands.index(
            paths,
            store,
            model=model,
            reranker=reranker,
            dim=dim,
            chunk_tokens=chunk_tokens,
            overlap=overlap,
            include=include or [],
            exclude=exclude or [],
            device=device,
            dtype=dtype,
            as_json=json_,
            quiet=quiet,
        )


@app.command("search", short_help="Search an index.")
def search_command(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question or some words.")],
    store: Store = STORE,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", help="Hits to show.")] = 10,
    candidates: Annotated[
        int, typer.Option("--candidates", metavar="N", help="Hits of each leg that are fused.")
    ] = 100,
    rerank: Annotated[
        int,
        typer.Option("--rerank", metavar="N", help="Fused hits that are reranked; 0 for none."),
    ] = 20,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FIELD=VALUE",
            help="path=FILE, path=FOLDER, path=GLOB, or kind=markdown|text|code. May be repeated: "
            "values of one field are alternatives.",
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option("--instruction", metavar="TEXT", help="What the query is for, in English."),
    ] = None,
    model: Model = None,
    reranker: Reranker = None,
    device: Device = None,
    dtype: Dtype = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show whole texts, and how each came to its place.")
    ] = False,
    json_: Json = False,
) -> None:
    """Search an index by meaning and by words, fuse both, and rerank the best."""
    with reported(debug=State.debug):
        from qwen3_rag_cli import commands

        commands.search(
            query,
            store,
            limit=limit,
            candidates=candidates,
            rerank=rerank,
            filters=filter_ or [],
            instruction=instruction,
            model=model,
            reranker=reranker,
            device=device,
            dtype=dtype,
            explain=explain,
            as_json=json_,
        )


@app.command("doctor", short_help="Show what is installed, and check an index.")
def doctor_command(
    store: Store = STORE,
    model: Model = None,
    reranker: Reranker = None,
    device: Device = None,
    dtype: Dtype = None,
    documents: Annotated[
        int, typer.Option("--documents", metavar="N", help="Documents of the timed query.")
    ] = 20,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Whether to time the models.")
    ] = True,
    json_: Json = False,
) -> None:
    """Show what is installed, where the models run, whether the index is sound, how fast it is.

    Downloads nothing. Ends with exit code 3 when the index has an error.
    """
    with reported(debug=State.debug):
        from qwen3_rag_cli import commands

        commands.doctor(
            store,
            model=model,
            reranker=reranker,
            device=device,
            dtype=dtype,
            documents=documents,
            measure=measure,
            as_json=json_,
        )


@app.command("demo", short_help="Search this project's documentation, step by step.")
def demo_command(
    model: Model = None,
    reranker: Reranker = None,
    device: Device = None,
    dtype: Dtype = None,
    json_: Json = False,
) -> None:
    """Index this project's documentation, ask it three questions, and show each step's order.

    Uses the small pair tiny unless told otherwise. Ends with exit code 1 when a question's section
    is not among the first three.
    """
    with reported(debug=State.debug):
        from qwen3_rag_cli import commands

        commands.demo(model=model, reranker=reranker, device=device, dtype=dtype, as_json=json_)


app.add_typer(train, name="train")
app.command("merge", short_help="Merge checkpoints by SLERP.")(merge_command)


def main() -> None:
    """Run the command; the entry point of the package."""
    app(prog_name="qwen3-rag")
