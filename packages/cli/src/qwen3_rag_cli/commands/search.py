"""The command `search`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.options import Json, Model, Reranker, Store, Tenant, with_runtime
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["search_command"]


@with_runtime()
def search_command(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question or keywords.")],
    store: Store = None,
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
        int | None,
        typer.Option(
            "--rerank",
            metavar="N",
            help="Number of fused hits to rerank; 0 turns it off (default: 20).",
        ),
    ] = None,
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
    from qwen3_rag_cli import console, output
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.places import Place
    from qwen3_rag_cli.searching import Question, find

    question = Question(
        query=query,
        limit=limit,
        candidates=candidates,
        rerank=rerank,
        min_score=min_score,
        filters=filter_ or (),
        instruction=instruction,
        model=model,
        reranker=reranker,
        runtime=runtime,
        silent=json_,
    )
    with Index(Place.of(store), tenant=tenant) as index:
        hits = find(index, question)
        base = index.place.base
    if json_:
        console.print_json(
            {
                "query": query,
                "base": str(base.folder),
                "hits": [output.hit_record(hit) for hit in hits],
            }
        )
    elif explain:
        output.print_explained(hits, base.shown)
    else:
        output.print_hits(hits, base.shown)
