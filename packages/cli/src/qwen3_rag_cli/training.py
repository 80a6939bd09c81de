"""Training and merging as commands: the one place that knows the training package.

Knows which job a command means and what to say about its result; knows nothing of typer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwen3_rag.backends import Role
from qwen3_rag.backends._local.checkpoint.hub import LocalSpec, check_layout, resolve
from qwen3_rag.backends._local.device import choose_devices
from qwen3_rag.errors import MissingExtraError
from qwen3_rag_cli import rendering

try:
    from qwen3_rag_training import (
        EmbeddingTraining,
        Merging,
        RerankingTraining,
        Schedule,
        TrainedRun,
        read_examples,
        train_embedder,
        train_reranker,
    )
    from qwen3_rag_training import merge as merge_checkpoints
except ImportError as error:
    raise MissingExtraError(
        "Training and merging need the package qwen3-rag-training. Install it with: "
        'pip install "qwen3-rag[training,cli]"'
    ) from error

__all__ = ["merge", "train"]


def train(
    role: Role,
    model: str,
    *,
    data: Path,
    output: Path,
    held_out: Path | None,
    schedule: Mapping[str, Any],
    settings: Mapping[str, Any],
    device: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a model of a role, and tell how it did.

    Args:
        role: Of the model.
        model: Folder, id, or `"tiny"`.
        data: JSON lines.
        output: Folder for the checkpoint.
        held_out: JSON lines to evaluate on.
        schedule: Of `Schedule`; without `steps`, once over the data.
        settings: Further ones of the role's job.
        device: A torch device, `None` to choose.
        as_json: Whether to print for programs.
        quiet: Whether to print nothing.
    """
    steps = schedule["steps"]
    if steps is None:
        steps = max(1, len(read_examples(data)) // max(1, schedule["batch_size"]))
    plan = Schedule(**{**schedule, "steps": steps})
    source = resolve(LocalSpec(model, role))
    check_layout(source, role)
    common: dict[str, Any] = {
        "model": source.folder,
        "data": data,
        "output": output,
        "held_out": held_out,
        "schedule": plan,
        "device": choose_devices(device)[0],
        **settings,
    }
    bar = not (as_json or quiet)
    if role == "embedding":
        run = train_embedder(EmbeddingTraining(**common), progress=bar)
    else:
        run = train_reranker(RerankingTraining(**common), progress=bar)
    _tell_run(run, as_json, quiet)


def merge(
    models: Sequence[Path],
    output: Path,
    *,
    shares: Sequence[float] | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Merge checkpoints, and tell how far apart they were."""
    config = Merging(models=tuple(models), output=output, shares=tuple(shares) if shares else None)
    report = merge_checkpoints(config)
    largest = report.largest
    record = {
        "folder": str(report.folder),
        "tensors": len(report.tensors),
        "largest_angle": {"tensor": largest.name, "radians": max(largest.angles)},
    }
    if as_json:
        rendering.print_json(record)
    elif not quiet:
        rendering.print_line(
            f"{len(report.tensors)} tensors merged into {report.folder}. Largest angle: "
            f"{max(largest.angles):.4f} rad, in {largest.name}."
        )


def _tell_run(run: TrainedRun, as_json: bool, quiet: bool) -> None:
    if as_json:
        rendering.print_json(
            {
                "folder": str(run.folder),
                "steps": run.steps,
                "loss": run.loss,
                "evaluation": run.evaluation,
            }
        )
    elif not quiet:
        figures = "".join(f", {name} {value:.4f}" for name, value in run.evaluation.items())
        rendering.print_line(
            f"{run.steps} steps. Loss {run.loss:.4f}{figures}. The checkpoint is in {run.folder}."
        )
