"""The commands that evaluate retrieval: `eval run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen3_rag_cli.options import Json, Quiet, Threads
from qwen3_rag_cli.threads import use_threads

__all__ = ["evaluation"]

evaluation = typer.Typer(
    help="Evaluate retrieval on your own documents.",
    short_help="Evaluate retrieval on your own documents.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@evaluation.command("run", short_help="Compare configurations on a collection.")
def run_command(
    collection: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Collection in BEIR's format: corpus.jsonl, queries.jsonl, qrels.tsv.",
        ),
    ],
    grid: Annotated[
        Path,
        typer.Option(
            "--grid", metavar="FILE", help="TOML file with tables [[configurations]] to compare."
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="NAME", help="Judgements qrels/NAME.tsv (default: test, dev, train)."
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME@K",
            help="ndcg, mrr, recall, precision, map or success, such as ndcg@10. Can be repeated; "
            "the first decides.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="Hits per query that are looked at.")
    ] = 100,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="FILE",
            help="File that keeps what the models computed, so that the next run takes it from "
            "there.",
            envvar="QWEN3_RAG_CACHE",
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs", metavar="FOLDER", help="Write each configuration's hits as a run of TREC."
        ),
    ] = None,
    threads: Threads = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare configurations on a collection with judgements, by quality and cost.

    Documents are searched exactly, in memory. A configuration names models, size of the vectors,
    retriever, fusion and rerank depth; a list stands for one configuration with each value.
    Differences from the best one are tested query by query.
    """
    from qwen3_rag.integration import require_own

    require_own("qwen3_rag_evaluation", "packages/evaluation", "This command")
    use_threads(threads)

    from qwen3_rag_cli.evaluating import compared
    from qwen3_rag_cli.evaluating import print_results as print_all
    from qwen3_rag_evaluation import (
        DEFAULT_METRICS,
        measure,
        read_collection,
        read_configurations,
        write_run,
    )

    found = read_collection(collection, split=split)
    results = measure(
        found,
        read_configurations(grid),
        metrics=metrics or DEFAULT_METRICS,
        limit=limit,
        cache=cache,
        progress=not (quiet or json_),
    )
    if runs is not None:
        runs.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(results, 1):
            write_run(one.outcome.run, runs / f"{number:02}.run", name=f"configuration-{number}")
    print_all(found, compared(results), json_=json_)
