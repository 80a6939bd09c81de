"""One fine-tuning from files to files: what training an embedder and a reranker have in common.

Knows the options, the order of the steps and where results go; what is optimised and measured is
the role's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

from qwen3_rag.backends import Role
from qwen3_rag.errors import InputError
from qwen3_rag_training.checkpoints import (
    DTYPES,
    copy_tokenizer,
    last_hidden,
    load_model,
    make_folder,
    save_model,
)
from qwen3_rag_training.data import Example, batches, read_examples
from qwen3_rag_training.inputs import Inputs, TokenBatch
from qwen3_rag_training.loop import Schedule, TrainedRun, optimise

__all__ = ["Objective", "Training", "Workbench", "in_parts", "run_job"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What to train on, and how; both roles add what is theirs.

    Attributes:
        model: Checkpoint folder to start from.
        data: JSON lines; see `data.read_examples`.
        output: Folder for the result, the log and the state.
        schedule: How long and how fast; a batch is that many examples.
        held_out: JSON lines to evaluate on; none when omitted.
        negatives: Hard negatives used per example, the first ones of each.
        max_query_tokens: Longest query.
        max_document_tokens: Longest document.
        device: A torch device.
        dtype: Number format to train in.
    """

    model: Path
    data: Path
    output: Path
    schedule: Schedule
    held_out: Path | None = None
    negatives: int = 1
    max_query_tokens: int = 256
    max_document_tokens: int = 512
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"`dtype` must be one of {sorted(DTYPES)}, got {self.dtype!r}.")
        for name, least in (("negatives", 0), ("max_query_tokens", 1), ("max_document_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise InputError(
                f"`device` must be a torch device such as 'cpu' or 'cuda:0', got {self.device!r}."
            ) from error

    @property
    def identity(self) -> str:
        """Changes when anything but the schedule changes that decides the numbers."""
        settings = asdict(self)
        for name in ("schedule", "output", "held_out", "device", "data", "model"):
            del settings[name]
        digest = hashlib.sha256(self.data.read_bytes()).hexdigest()
        return f"{sorted(settings.items())} {digest}"


@dataclass(frozen=True)
class Workbench:
    """What a role works with: the loaded model, its tokens, and where it runs."""

    model: PreTrainedModel
    inputs: Inputs
    device: torch.device

    def states(self, batch: TokenBatch) -> Tensor:
        """Hidden states at the rows' last tokens."""
        batch = batch.to(self.device)
        return last_hidden(self.model, batch.ids, batch.mask, batch.last)


@dataclass(frozen=True)
class Objective:
    """What a role optimises and measures.

    Attributes:
        loss: Of a batch of examples.
        figures: On the held-out examples; `None` where they hold nothing to measure.
    """

    loss: Callable[[Sequence[Example]], Tensor]
    figures: Callable[[], dict[str, float]] | None


Aim: TypeAlias = Callable[[Workbench, Sequence[Example]], Objective]


def run_job(
    config: Training,
    role: Role,
    objective: Aim,
    *,
    progress: bool,
    stop_after: int | None,
) -> TrainedRun:
    """Read, train or go on, and write the checkpoint.

    Args:
        config: The job.
        role: What the checkpoint does.
        objective: Given the workbench and the held-out examples, what to optimise and measure.
        progress: Whether to show a bar on a terminal.
        stop_after: Leave after this many steps, with a saved state.

    Raises:
        InputError: The data or settings cannot be used, or the output folder holds another run.
        ModelError: The checkpoint cannot be read, or the loss became infinite.
    """
    examples = read_examples(config.data)
    held_out = read_examples(config.held_out) if config.held_out else []
    make_folder(config.output)
    device = torch.device(config.device)
    model = load_model(config.model, dtype=DTYPES[config.dtype], device=device)
    context = int(model.config.max_position_embeddings)
    inputs = Inputs(Path(config.model), role, context=context)
    aim = objective(Workbench(model, inputs, device), held_out)
    schedule = config.schedule
    steps = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    loss, figures = optimise(
        model,
        lambda batch: aim.loss([examples[index] for index in batch]),
        lambda first: batches(
            len(examples), schedule.batch_size, schedule.seed, block=schedule.block, first=first
        ),
        schedule,
        config.output,
        job=config.identity,
        evaluate=aim.figures,
        progress=progress,
        stop_after=stop_after,
    )
    copy_tokenizer(Path(config.model), config.output)
    save_model(model, config.output, role, inputs.answers if role == "reranking" else (0, 0))
    return TrainedRun(config.output, steps, loss, figures)


def in_parts(sizes: Sequence[int], rows: int, compute: Callable[[Sequence[int]], Tensor]) -> Tensor:
    """Compute rows in parts of like size: most of a batch would be filling otherwise.

    Args:
        sizes: About how long each row is.
        rows: Of one part, at most.
        compute: Result of the rows with these indices.

    Returns:
        The results in the order of `sizes`.
    """
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    parts = [compute(order[start : start + rows]) for start in range(0, len(order), rows)]
    found = torch.cat(parts)
    return found[torch.tensor(order).argsort().to(found.device)]
