"""The console command: options and functions of `index`, `search`, `doctor`, `demo`, `models`.

Each command imports what it needs, so that help and usage errors stay fast.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from qwen3_rag_cli import cache, reindex, training
from qwen3_rag_cli.exits import State, reported
from qwen3_rag_cli.options import (
    MODEL_METAVAR,
    STORE,
    Json,
    Model,
    Quiet,
    Reranker,
    Store,
    Tenant,
    with_runtime,
)
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["app", "main"]

app = typer.Typer(
    name="qwen3-rag",
    help="Index a folder and search it with Qwen3-Embedding and Qwen3-Reranker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help looks the same on a terminal, in a pipe and in the documentation.
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
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Index a folder and search it with Qwen3-Embedding and Qwen3-Reranker."""
    State.debug = debug


@app.command("index", short_help="Bring an index up to date with files.")
@reported
@with_runtime()
def index_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Folders and files.")],
    store: Store = STORE,
    tenant: Tenant = None,
    model: Model = None,
    reranker: Reranker = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="N", help="Vector size (default: the model's)."),
    ] = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            "--chunk-tokens",
            metavar="N",
            help="Maximum tokens per chunk (default: the index's; 384 for a new one).",
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap",
            metavar="N",
            help="Maximum tokens shared by neighbouring chunks (default: the index's; 48 for a "
            "new one).",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Index the matching files in folders instead of Markdown, text and source code. "
            "Can be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Leave out matching files and folders. Can be repeated.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="First part of the paths in a collection on a server (default: the current "
            "folder's name).",
        ),
    ] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring an index up to date: add new and changed files, remove deleted ones.

    Reads Markdown, text and source code. If a run is interrupted, run the command again to
    continue.
    """
    from qwen3_rag.errors import InputError
    from qwen3_rag_cli import files, output
    from qwen3_rag_cli.chunking import Chunking
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.indexing import Indexing
    from qwen3_rag_cli.places import Place

    place = Place.of(store, source)
    selection = files.find(
        paths,
        base=place.base,
        include=include or [],
        exclude=exclude or [],
        leave_out=place.path,
    )
    # An existing index may still have files to remove.
    if selection.is_empty and place.folder is not None and not place.folder.exists():
        raise InputError(_nothing_in(paths))
    with Index(place, create=True, tenant=tenant) as index:
        if selection.is_empty and not index.manifest.paths():
            raise InputError(_nothing_in(paths))
        models = index.models(model, reranker, runtime, dim=dim)
        chunking = Chunking.chosen(chunk_tokens, overlap, index.manifest.record())
        with Indexing(index, models, chunking) as indexing:
            pending = indexing.plan(selection)
            silent = quiet or json_
            with output.progress(sum(file.size for file in pending), silent) as advance:
                summary = indexing.run(pending, advance)
    if json_:
        output.print_json({"store": str(place), **output.summary_record(summary)})
    elif not quiet:
        output.print_summary(summary, place)
    if summary.skipped and not summary.files and not summary.removed:
        raise InputError("None of the files could be indexed; see the reasons above.")


@app.command("search", short_help="Search an index.")
@reported
@with_runtime()
def search_command(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question or keywords.")],
    store: Store = STORE,
    tenant: Tenant = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", help="Number of hits to show.")
    ] = 10,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates", metavar="N", help="Number of hits to take from each retriever."
        ),
    ] = 200,
    rerank: Annotated[
        int,
        typer.Option(
            "--rerank", metavar="N", help="Number of fused hits to rerank; 0 turns it off."
        ),
    ] = 20,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="SCORE",
            help="Leave out hits with a lower reranked score, and those not reranked.",
        ),
    ] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FIELD=VALUE",
            help="path=FILE, path=FOLDER, path=GLOB, or kind=markdown|text|code. Can be repeated: "
            "a hit must match one of the values given for each field.",
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(
            "--instruction", metavar="TEXT", help="Task the query is part of, in English."
        ),
    ] = None,
    model: Model = None,
    reranker: Reranker = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show full texts, with rank and score in every list."),
    ] = False,
    json_: Json = False,
) -> None:
    """Search an index with dense vectors and BM25, fuse the results, and rerank the best."""
    from qwen3_rag.errors import InputError
    from qwen3_rag_cli import output
    from qwen3_rag_cli.index import Depths, Index
    from qwen3_rag_cli.places import Place

    depths = Depths(limit, candidates, rerank)
    if min_score is not None and not rerank:
        raise InputError("`--min-score` is a reranked score, and `--rerank 0` turns that off.")
    with Index(Place.of(store), tenant=tenant) as index:
        models = index.models(model, reranker, runtime)
        condition = None
        if filter_:
            from qwen3_rag_cli.filters import parse_filters

            values = parse_filters(filter_, index.manifest.paths)
            condition = index.collection.matching(values)
        with index.searcher(models, depths) as searcher:
            hits = searcher.search(
                query,
                limit=limit,
                filter=condition,
                instruction=instruction,
                min_score=min_score,
                tenant=tenant,
            )
            if not hits:
                index.check_known()
    if json_:
        output.print_json({"query": query, "hits": [output.hit_record(hit) for hit in hits]})
    elif explain:
        output.print_explained(hits)
    else:
        output.print_hits(hits)


@app.command("doctor", short_help="Show what is installed, and check an index.")
@reported
@with_runtime(cache=False)
def doctor_command(
    store: Store = STORE,
    tenant: Tenant = None,
    model: Model = None,
    reranker: Reranker = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    documents: Annotated[
        int,
        typer.Option(
            "--documents", metavar="N", help="Number of documents to rerank when measuring."
        ),
    ] = 20,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure the models' speed.")
    ] = True,
    json_: Json = False,
) -> None:
    """Show what is installed and where the models run, check the index, and measure the speed.

    Downloads nothing. Ends with exit code 3 when the index has an error.
    """
    from qwen3_rag.errors import InputError, StoreError
    from qwen3_rag_cli import output
    from qwen3_rag_cli.doctor import examine
    from qwen3_rag_cli.places import Place

    if documents < 1:
        raise InputError(f"`--documents` must be at least 1, got {documents}.")
    place = Place.of(store)
    offline = replace(runtime, offline=True)
    measured = documents if measure else 0
    found = examine(place, model, reranker, offline, documents=measured, tenant=tenant)
    if json_:
        output.print_json(found.as_dict())
    else:
        output.print_sections(found.as_dict())
    if found.broken:
        raise StoreError(f"The index at {str(place)!r} has an error; see above.")


@app.command("demo", short_help="Search this project's documentation.")
@reported
@with_runtime()
def demo_command(
    model: Annotated[
        str, typer.Option("--model", metavar=MODEL_METAVAR, help="Embedding model.")
    ] = "tiny",
    reranker: Annotated[
        str | None,
        typer.Option(
            "--reranker",
            metavar=MODEL_METAVAR,
            help="Reranker (default: tiny with --model tiny, otherwise Qwen/Qwen3-Reranker-0.6B).",
        ),
    ] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json_: Json = False,
) -> None:
    """Index this project's documentation, ask three questions, and compare the rankings.

    Ends with exit code 1 when the right section is not among the first three.
    """
    from qwen3_rag_cli import demo, output
    from qwen3_rag_cli.models import Models

    models = Models.chosen(model, reranker, runtime=runtime)
    answers = demo.run(models, output.note_to(silent=json_))
    if json_:
        output.print_json([answer.as_dict() for answer in answers])
    else:
        for answer in answers:
            output.print_answer(answer)
    if not all(answer.right for answer in answers):
        raise typer.Exit(1)


@app.command("models", short_help="List the models that are known to run.")
@reported
def models_command(json_: Json = False) -> None:
    """List the models that are known to run, what each needs, and where that was read.

    Other models made from Qwen3-Embedding and Qwen3-Reranker run as well: what their own files say
    is used. Downloads nothing.
    """
    from dataclasses import asdict

    from qwen3_rag_cli import output
    from qwen3_rag_cli.models import known

    if json_:
        output.print_json([asdict(record) for record in known()])
    else:
        sections: dict[str, dict[str, str]] = {}
        for record in known():
            title = f"Needs {record.needs} ({record.source})"
            told = f"{record.role}, {record.dim:,} numbers, {record.licence}"
            sections.setdefault(title, {})[record.name] = told
        output.print_sections(sections)


app.add_typer(training.train, name="train")
app.add_typer(cache.cache, name="cache")
app.command("merge", short_help="Merge checkpoints by SLERP.")(training.merge_command)
app.command("reindex", short_help="Embed a collection anew, or renew its BM25 terms.")(
    reindex.reindex_command
)


def _nothing_in(paths: list[Path]) -> str:
    return (
        f"There is nothing to index in {', '.join(repr(str(path)) for path in paths)}: no "
        "Markdown, text or source file that matches the patterns. Name files, or say which "
        "to index with --include GLOB."
    )


def main() -> None:
    """Run the command; the entry point of the package."""
    # Over Milvus Lite, its client warns with every reading that it takes its own clock. A filter,
    # because importing the client sets the levels of its loggers anew.
    logger = logging.getLogger("pymilvus.client.iterator.query_iterator")
    logger.addFilter(lambda record: record.levelno >= logging.ERROR)
    app(prog_name="qwen3-rag")
