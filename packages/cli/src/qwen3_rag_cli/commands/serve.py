"""The command `serve`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.options import (
    STORE_METAVAR,
    Candidates,
    ChatKeyEnv,
    ChatModel,
    ChatOptions,
    ChatUrl,
    Model,
    Rerank,
    Reranker,
    with_runtime,
)
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["serve_command"]


@with_runtime()
def serve_command(
    indexes: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            metavar=STORE_METAVAR,
            help="Index to search, as --store of the other commands takes it. Can be repeated.",
        ),
    ] = None,
    model: Model = None,
    reranker: Reranker = None,
    candidates: Candidates = 200,
    rerank: Rerank = None,
    chat_url: ChatUrl = None,
    chat_model: ChatModel = None,
    chat_key_env: ChatKeyEnv = None,
    chat_options: ChatOptions = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Port to listen on; 0 for any.")
    ] = 8080,
    api_keys_env: Annotated[
        list[str] | None,
        typer.Option(
            "--server-key-env",
            metavar="NAME",
            help="Environment variable with a key that requests must have. Can be repeated.",
        ),
    ] = None,
    open_hooks: Annotated[
        bool,
        typer.Option(
            "--open-hooks",
            help="Answer what stores ask, who send no key, without one: /vectors, /rerank, /meta.",
        ),
    ] = False,
    max_queue: Annotated[
        int,
        typer.Option(
            "--max-queue", metavar="N", help="Texts and pairs that may wait, of all requests."
        ),
    ] = 16_384,
) -> None:
    """Serve the models, and indexes, over HTTP, until Ctrl-C, SIGTERM or SIGHUP.

    It speaks what clients of OpenAI, Cohere, Jina, Text Embeddings Inference and Weaviate's modules
    speak. Without --index, it serves the models alone. With --chat-url, questions are answered from
    an index by the chat model there.
    """
    from qwen3_rag.integration import require_own

    require_own("qwen3_rag_server", "packages/server", "This command")

    from qwen3_rag_cli.asking import chat_endpoint
    from qwen3_rag_cli.console import errors, waiting
    from qwen3_rag_cli.serving import opened, server_keys
    from qwen3_rag_cli.terminal import visible
    from qwen3_rag_server import RunningServer, Settings

    settings = Settings(
        api_keys=server_keys(api_keys_env or ()), open_hooks=open_hooks, max_queue=max_queue
    )
    chat = None
    if chat_url or chat_options:  # the others may be set for `ask`, as variables
        chat = chat_endpoint(chat_url, chat_model, chat_key_env, chat_options or ())
    with opened(
        indexes or (), model, reranker, runtime, candidates=candidates, rerank=rerank, chat=chat
    ) as served:
        server = RunningServer(served, settings, host=host, port=port)
        with waiting("Loading the models", silent=False):
            served.warm_up()
        parts = (served.embedding_name, served.reranking_name, *served.searchers)
        told = ", ".join(visible(part) for part in parts if part)
        server.listen()
        errors().say(f"Serving {told} at {server.url}")
        server.run()
