"""The command `demo`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.completing import EMBEDDERS, RERANKERS, one_of
from qwen3_rag_cli.options import MODEL_METAVAR, Json, with_runtime
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["demo_command"]


@with_runtime()
def demo_command(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar=MODEL_METAVAR,
            help="Embedding model.",
            autocompletion=one_of(*EMBEDDERS),
        ),
    ] = "tiny",
    reranker: Annotated[
        str | None,
        typer.Option(
            "--reranker",
            metavar=MODEL_METAVAR,
            help="Reranker (default: tiny with --model tiny, Qwen/Qwen3-Reranker-0.6B with another "
            "published model).",
            autocompletion=one_of(*RERANKERS),
        ),
    ] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    json_: Json = False,
) -> None:
    """Index this project's documentation, ask three questions, and compare the rankings.

    Ends with exit code 1 when the right section is not among the first three.
    """
    from qwen3_rag.errors import InputError
    from qwen3_rag_cli import console, demo, output
    from qwen3_rag_cli.models import Models, no_reranker

    models = Models.chosen(model, reranker, runtime=runtime)
    if models.reranking is None:
        raise InputError(no_reranker(models.embedding))
    answers = demo.run(models, console.note_to(silent=json_))
    if json_:
        console.print_json([answer.as_dict() for answer in answers])
    else:
        for answer in answers:
            output.print_answer(answer)
    if not all(answer.right for answer in answers):
        raise typer.Exit(1)
