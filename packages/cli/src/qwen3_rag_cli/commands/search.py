"""The command `search`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.options import (
    Candidates,
    Filter,
    Instruction,
    Json,
    MinScore,
    Model,
    Rerank,
    Reranker,
    Store,
    Tenant,
    with_runtime,
)
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
    candidates: Candidates = 200,
    rerank: Rerank = None,
    min_score: MinScore = None,
    filter_: Filter = None,
    instruction: Instruction = None,
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
