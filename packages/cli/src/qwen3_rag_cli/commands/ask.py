"""The command `ask`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.options import (
    Candidates,
    ChatKeyEnv,
    ChatModel,
    ChatOptions,
    ChatUrl,
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

__all__ = ["ask_command"]


@with_runtime()
def ask_command(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question.")],
    chat_url: ChatUrl = None,
    chat_model: ChatModel = None,
    chat_key_env: ChatKeyEnv = None,
    chat_options: ChatOptions = None,
    store: Store = None,
    tenant: Tenant = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", help="Number of hits to answer from.")
    ] = 5,
    candidates: Candidates = 200,
    rerank: Rerank = None,
    min_score: MinScore = None,
    filter_: Filter = None,
    instruction: Instruction = None,
    model: Model = None,
    reranker: Reranker = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json_: Json = False,
) -> None:
    """Answer a question from an index, by a chat model on a server, with numbered sources.

    Without a hit that reaches --min-score, the answer is that nothing was found, and the chat model
    is not asked.
    """
    from qwen3_rag_cli import asking, console
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.places import Place
    from qwen3_rag_cli.searching import Question, find

    chat = asking.chat_endpoint(chat_url, chat_model, chat_key_env, chat_options or ())
    wanted = Question(
        query=question,
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
        hits = find(index, wanted)
        base = index.place.base
    answer = asking.answered(question, hits, chat, silent=json_)
    if json_:
        console.print_json(asking.answer_record(answer, question, base, hits))
    else:
        asking.print_answer(answer, base, hits)
