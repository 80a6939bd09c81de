"""The commands that make checkpoints: `train embed`, `train rerank` and `merge`.

Knows typer and what each is called with; knows nothing of how it is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen3_rag_cli.exits import reported
from qwen3_rag_cli.options import Json, Quiet, State

__all__ = ["merge_command", "train"]

train = typer.Typer(
    help="Adapt a model to your own data.",
    short_help="Adapt a model to your own data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="JSON lines with query, positive and maybe negatives, instruction."
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        metavar="FOLDER",
        help="For the checkpoint, the log and the state that a killed run goes on from.",
    ),
]
HeldOut = Annotated[
    Path | None, typer.Option("--held-out", metavar="FILE", help="JSON lines to evaluate on.")
]
Steps = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Optimiser steps; once over the data.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", help="Examples of a step.")]
Rate = Annotated[float, typer.Option("--learning-rate", metavar="X", help="At its peak.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of the order of examples.")]
Block = Annotated[
    int,
    typer.Option("--block", metavar="N", help="Lines of DATA that stay together in a batch."),
]
SaveEvery = Annotated[int, typer.Option("--save-every", metavar="N", help="Steps between states.")]
QueryTokens = Annotated[int, typer.Option("--max-query-tokens", metavar="N", help="Longest query.")]
DocumentTokens = Annotated[
    int, typer.Option("--max-document-tokens", metavar="N", help="Longest document.")
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; the best there is."),
]
# In bfloat16 the small updates of a fine-tuning round to nothing.
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16.")
]


@train.command("embed", short_help="Adapt an embedding model.")
def train_embed_command(
    data: Data,
    output: Output,
    model: Annotated[
        str,
        typer.Option("--model", metavar="tiny|ID|FOLDER", help="Checkpoint to start from."),
    ] = "Qwen/Qwen3-Embedding-0.6B",
    held_out: HeldOut = None,
    steps: Steps = None,
    batch_size: BatchSize = 32,
    learning_rate: Rate = 1e-5,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="X", help="Divides the similarities.")
    ] = 0.05,
    dims: Annotated[
        list[int] | None,
        typer.Option(
            "--dim",
            metavar="N",
            help="Size of the vectors to train for (MRL). May be repeated; the whole alone.",
        ),
    ] = None,
    negatives: Annotated[
        int, typer.Option("--negatives", metavar="N", help="Of each line, the first so many.")
    ] = 1,
    seed: Seed = 0,
    block: Block = 1,
    save_every: SaveEvery = 200,
    max_query_tokens: QueryTokens = 256,
    max_document_tokens: DocumentTokens = 512,
    device: Device = None,
    dtype: Dtype = "float32",
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Adapt an embedding model: queries to their documents, away from the others.

    All weights are trained, with the contrastive loss of the Qwen3 Embedding report. Run the same
    command again after a kill, and it goes on to the same result.
    """
    with reported(debug=State.debug):
        from qwen3_rag_cli import training

        training.train(
            "embedding",
            model,
            data=data,
            output=output,
            held_out=held_out,
            schedule={
                "steps": steps,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "seed": seed,
                "block": block,
                "save_every": save_every,
            },
            settings={
                "temperature": temperature,
                "dims": tuple(dims or ()),
                "negatives": negatives,
                "max_query_tokens": max_query_tokens,
                "max_document_tokens": max_document_tokens,
                "dtype": dtype,
            },
            device=device,
            as_json=json_,
            quiet=quiet,
        )


@train.command("rerank", short_help="Adapt a reranking model.")
def train_rerank_command(
    data: Data,
    output: Output,
    model: Annotated[
        str,
        typer.Option("--model", metavar="tiny|ID|FOLDER", help="Checkpoint to start from."),
    ] = "Qwen/Qwen3-Reranker-0.6B",
    held_out: HeldOut = None,
    steps: Steps = None,
    batch_size: BatchSize = 8,
    learning_rate: Rate = 1e-5,
    negatives: Annotated[
        int, typer.Option("--negatives", metavar="N", help="Of each line, the first so many.")
    ] = 3,
    seed: Seed = 0,
    block: Block = 1,
    save_every: SaveEvery = 200,
    max_query_tokens: QueryTokens = 128,
    max_document_tokens: DocumentTokens = 512,
    device: Device = None,
    dtype: Dtype = "float32",
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Adapt a reranking model: "yes" to each positive, "no" to each negative.

    All weights are trained. Run the same command again after a kill, and it goes on to the same
    result.
    """
    with reported(debug=State.debug):
        from qwen3_rag_cli import training

        training.train(
            "reranking",
            model,
            data=data,
            output=output,
            held_out=held_out,
            schedule={
                "steps": steps,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "seed": seed,
                "block": block,
                "save_every": save_every,
            },
            settings={
                "negatives": negatives,
                "max_query_tokens": max_query_tokens,
                "max_document_tokens": max_document_tokens,
                "dtype": dtype,
            },
            device=device,
            as_json=json_,
            quiet=quiet,
        )


def merge_command(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="Two or more checkpoint folders of one architecture."),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="For the result.")],
    shares: Annotated[
        list[float] | None,
        typer.Option(
            "--share",
            metavar="X",
            help="How much of each model, in their order. Repeated for each; equal shares.",
        ),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge checkpoints by spherical interpolation (SLERP), tensor by tensor.

    Configuration and tokenizer come from the first.
    """
    with reported(debug=State.debug):
        from qwen3_rag_cli import training

        training.merge(models, output, shares=shares, as_json=json_, quiet=quiet)
