"""The commands that write checkpoints: `train embed`, `train rerank` and `merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwen3_rag_cli.completing import EMBEDDERS, RERANKERS, one_of
from qwen3_rag_cli.options import MODEL_METAVAR, Device, Json, Quiet, Threads
from qwen3_rag_cli.threads import use_threads

if TYPE_CHECKING:
    from qwen3_rag_training import LoRA, TrainedRun

__all__ = ["merge_command", "train"]

train = typer.Typer(
    help="Fine-tune a model on your own data.",
    short_help="Fine-tune a model on your own data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="JSON lines with query and positive, optionally negatives and instruction.",
    ),
]
Start = Annotated[
    str,
    typer.Option(
        "--model",
        metavar=MODEL_METAVAR,
        help="Checkpoint to start from.",
        autocompletion=one_of(*EMBEDDERS, *RERANKERS[1:]),
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        metavar="FOLDER",
        help="Folder for the checkpoint, the log and the saved state of an unfinished run.",
    ),
]
HeldOut = Annotated[
    Path | None, typer.Option("--held-out", metavar="FILE", help="JSON lines to evaluate on.")
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", metavar="N", help="Optimiser steps (default: one pass over DATA)."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", help="Examples per step.")]
Rate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        metavar="X",
        help="Peak learning rate (default: 1e-5, with --lora 1e-4).",
        show_default=False,
    ),
]
Lora = Annotated[
    bool,
    typer.Option(
        "--lora", help="Train a small adapter beside frozen weights, instead of all weights."
    ),
]
Rank = Annotated[
    int | None, typer.Option("--rank", metavar="N", help="With --lora: the rank (default: 16).")
]
Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        metavar="X",
        help="With --lora: the updates are scaled by X / rank (default: 32).",
    ),
]
Dropout = Annotated[
    float | None,
    typer.Option("--dropout", metavar="X", help="With --lora: dropout of its inputs (default: 0)."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="With --lora: a matrix to adapt, such as q_proj. Can be repeated (default: all).",
    ),
]
Merged = Annotated[
    bool,
    typer.Option(
        "--merged", help="With --lora: save a whole checkpoint instead of the adapter alone."
    ),
]
Negatives = Annotated[
    int, typer.Option("--negatives", metavar="N", help="Negatives to use from each line.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the order of examples.")]
Block = Annotated[
    int,
    typer.Option(
        "--block", metavar="N", help="Number of consecutive lines of DATA to keep in one batch."
    ),
]
SaveEvery = Annotated[
    int, typer.Option("--save-every", metavar="N", help="Steps between saved states.")
]
QueryTokens = Annotated[
    int, typer.Option("--max-query-tokens", metavar="N", help="Maximum tokens per query.")
]
DocumentTokens = Annotated[
    int, typer.Option("--max-document-tokens", metavar="N", help="Maximum tokens per document.")
]
# In bfloat16 the small updates of fine-tuning round to nothing.
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16 or float16.")
]


@train.command("embed", short_help="Fine-tune an embedding model.")
def train_embed_command(
    data: Data,
    output: Output,
    model: Start = "Qwen/Qwen3-Embedding-0.6B",
    held_out: HeldOut = None,
    steps: Steps = None,
    batch_size: BatchSize = 32,
    learning_rate: Rate = None,
    temperature: Annotated[
        float,
        typer.Option("--temperature", metavar="X", help="Temperature of the contrastive loss."),
    ] = 0.05,
    dims: Annotated[
        list[int] | None,
        typer.Option(
            "--dim",
            metavar="N",
            help="Vector size to train for (MRL). Can be repeated (default: the full size only).",
        ),
    ] = None,
    negatives: Negatives = 1,
    seed: Seed = 0,
    block: Block = 1,
    save_every: SaveEvery = 200,
    lora: Lora = False,
    rank: Rank = None,
    alpha: Alpha = None,
    dropout: Dropout = None,
    targets: Targets = None,
    merged: Merged = False,
    max_query_tokens: QueryTokens = 256,
    max_document_tokens: DocumentTokens = 512,
    device: Device = None,
    dtype: Dtype = "float32",
    threads: Threads = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune an embedding model with the contrastive loss of the Qwen3 Embedding report.

    All weights are trained, or with --lora a small adapter beside them. If a run is interrupted,
    run the command again: it continues from the saved state and gives the same result.
    """
    _require_training()
    use_threads(threads)
    from qwen3_rag_training import EmbeddingTraining, Schedule, train_embedder

    job = EmbeddingTraining(
        model=model,
        data=data,
        output=output,
        held_out=held_out,
        schedule=Schedule(
            steps=_steps(steps, data, batch_size),
            batch_size=batch_size,
            learning_rate=_rate(learning_rate, lora),
            seed=seed,
            block=block,
            save_every=save_every,
        ),
        temperature=temperature,
        dims=tuple(dims or ()),
        lora=_lora(lora, rank, alpha, dropout, targets, merged),
        negatives=negatives,
        max_query_tokens=max_query_tokens,
        max_document_tokens=max_document_tokens,
        device=_device(device),
        dtype=dtype,
    )
    run = train_embedder(job, progress=not (json_ or quiet))
    _print_run(run, json_, quiet)


@train.command("rerank", short_help="Fine-tune a reranker.")
def train_rerank_command(
    data: Data,
    output: Output,
    model: Start = "Qwen/Qwen3-Reranker-0.6B",
    held_out: HeldOut = None,
    steps: Steps = None,
    batch_size: BatchSize = 8,
    learning_rate: Rate = None,
    negatives: Negatives = 3,
    seed: Seed = 0,
    block: Block = 1,
    save_every: SaveEvery = 200,
    lora: Lora = False,
    rank: Rank = None,
    alpha: Alpha = None,
    dropout: Dropout = None,
    targets: Targets = None,
    merged: Merged = False,
    max_query_tokens: QueryTokens = 128,
    max_document_tokens: DocumentTokens = 512,
    device: Device = None,
    dtype: Dtype = "float32",
    threads: Threads = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a reranker to answer "yes" for each positive and "no" for each negative.

    All weights are trained, or with --lora a small adapter beside them. If a run is interrupted,
    run the command again: it continues from the saved state and gives the same result.
    """
    _require_training()
    use_threads(threads)
    from qwen3_rag_training import RerankingTraining, Schedule, train_reranker

    job = RerankingTraining(
        model=model,
        data=data,
        output=output,
        held_out=held_out,
        schedule=Schedule(
            steps=_steps(steps, data, batch_size),
            batch_size=batch_size,
            learning_rate=_rate(learning_rate, lora),
            seed=seed,
            block=block,
            save_every=save_every,
        ),
        lora=_lora(lora, rank, alpha, dropout, targets, merged),
        negatives=negatives,
        max_query_tokens=max_query_tokens,
        max_document_tokens=max_document_tokens,
        device=_device(device),
        dtype=dtype,
    )
    run = train_reranker(job, progress=not (json_ or quiet))
    _print_run(run, json_, quiet)


def merge_command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL", help="Two or more checkpoint folders of the same architecture."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Folder to write.")],
    shares: Annotated[
        list[float] | None,
        typer.Option(
            "--share",
            metavar="X",
            help="Weight of each model, repeated once per model in their order (default: equal).",
        ),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge checkpoints tensor by tensor with spherical interpolation (SLERP).

    Configuration and tokenizer are taken from the first model.
    """
    _require_training()
    from qwen3_rag_cli.console import print_json, print_line
    from qwen3_rag_training import Merging, merge

    report = merge(
        Merging(models=tuple(models), output=output, shares=tuple(shares) if shares else None)
    )
    largest = report.largest
    if json_:
        print_json(
            {
                "folder": str(report.folder),
                "tensors": len(report.tensors),
                "largest_angle": {"tensor": largest.name, "radians": max(largest.angles)},
            }
        )
    elif not quiet:
        print_line(
            f"Merged {len(report.tensors)} tensors into {report.folder}. Largest angle: "
            f"{max(largest.angles):.4f} rad, in {largest.name}."
        )


def _require_training() -> None:
    """Check that the optional package for these commands is installed.

    Raises:
        MissingExtraError: It is not installed.
    """
    from qwen3_rag.integration import require_own

    require_own("qwen3_rag_training", "packages/training", "This command")


def _rate(given: float | None, lora: bool) -> float:
    """Return the learning rate; an adapter, which starts from nothing, takes a higher one."""
    if given is not None:
        return given
    return 1e-4 if lora else 1e-5


def _lora(
    wanted: bool,
    rank: int | None,
    alpha: float | None,
    dropout: float | None,
    targets: list[str] | None,
    merged: bool,
) -> LoRA | None:
    """Collect the options of the adapter; those not given keep their defaults.

    Raises:
        InputError: One is out of range, or is given without --lora.
    """
    from qwen3_rag.errors import InputError
    from qwen3_rag_training import LoRA

    options: dict[str, Any] = {"rank": rank, "alpha": alpha, "dropout": dropout}
    options["targets"] = tuple(targets) if targets else None
    given = {name: value for name, value in options.items() if value is not None}
    if merged:
        given["merged"] = True
    if wanted:
        return LoRA(**given)
    if given:
        names = ", ".join("--" + name.removesuffix("s") for name in given)
        raise InputError(f"{names}: only with --lora. Add --lora, or leave it out.")
    return None


def _device(name: str | None) -> str:
    from qwen3_rag.integration import device_report

    return device_report(name).devices[0]


def _steps(given: int | None, data: Path, batch_size: int) -> int:
    """Return the number of steps, by default one pass over the data."""
    if given is not None:
        return given
    from qwen3_rag_training import read_examples

    return max(1, len(read_examples(data)) // max(1, batch_size))


def _print_run(run: TrainedRun, as_json: bool, quiet: bool) -> None:
    from qwen3_rag_cli.console import print_json, print_line

    if as_json:
        print_json(
            {
                "folder": str(run.folder),
                "steps": run.steps,
                "loss": run.loss,
                "evaluation": run.evaluation,
            }
        )
    elif not quiet:
        figures = "".join(f", {name} {value:.4f}" for name, value in run.evaluation.items())
        print_line(
            f"{run.steps} steps. Loss {run.loss:.4f}{figures}. The result is in {run.folder}."
        )
