"""The code that training an embedder and training a reranker share."""

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

__all__ = ["Objective", "Training", "TrainingSetup", "in_batches", "run_job"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Configuration that both kinds of training share.

    Attributes:
        model: Checkpoint folder to start from.
        data: Training examples in JSON lines; see `data.read_examples`.
        output: Folder for the checkpoint, the log and the training state.
        schedule: Number of steps, batch size and learning rate.
        held_out: Examples to evaluate on, in JSON lines.
        negatives: Number of hard negatives to use per example, from the start of its list.
        max_query_tokens: Maximum tokens per query; longer queries are cut.
        max_document_tokens: Maximum tokens per document; longer documents are cut.
        device: Torch device.
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
        """A hash of everything that affects the result, except the schedule."""
        settings = asdict(self)
        for name in ("schedule", "output", "held_out", "device", "data", "model"):
            del settings[name]
        digest = hashlib.sha256(self.data.read_bytes()).hexdigest()
        return f"{sorted(settings.items())} {digest}"


@dataclass(frozen=True)
class TrainingSetup:
    """The loaded model, its tokenizer and the device it is on."""

    model: PreTrainedModel
    inputs: Inputs
    device: torch.device

    def states(self, batch: TokenBatch) -> Tensor:
        """Compute the hidden states at the last token of each row."""
        batch = batch.to(self.device)
        return last_hidden(self.model, batch.ids, batch.mask, batch.last)


@dataclass(frozen=True)
class Objective:
    """The loss of a role and its metrics.

    Attributes:
        loss: Computes the loss of a batch of examples.
        evaluate: Computes metrics on the held-out examples; `None` without usable examples.
    """

    loss: Callable[[Sequence[Example]], Tensor]
    evaluate: Callable[[], dict[str, float]] | None


MakeObjective: TypeAlias = Callable[[TrainingSetup, Sequence[Example]], Objective]


def run_job(
    config: Training,
    role: Role,
    make_objective: MakeObjective,
    *,
    progress: bool,
    stop_after: int | None,
) -> TrainedRun:
    """Read the data, train or resume, and write the checkpoint.

    Args:
        config: The training configuration.
        role: Whether the checkpoint embeds or reranks.
        make_objective: Builds the objective from the loaded model and the held-out examples.
        progress: Whether to show a progress bar on a terminal.
        stop_after: Stop after this many steps and save the state.

    Raises:
        InputError: The data or configuration is invalid, or the output folder holds another run.
        ModelError: The checkpoint cannot be read, or the loss is not finite.
    """
    examples = read_examples(config.data)
    held_out = read_examples(config.held_out) if config.held_out else []
    make_folder(config.output)
    device = torch.device(config.device)
    model = load_model(config.model, dtype=DTYPES[config.dtype], device=device)
    context = int(model.config.max_position_embeddings)
    inputs = Inputs(Path(config.model), role, context=context)
    objective = make_objective(TrainingSetup(model, inputs, device), held_out)
    schedule = config.schedule
    steps = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    loss, metrics = optimise(
        model,
        lambda batch: objective.loss([examples[index] for index in batch]),
        lambda first: batches(
            len(examples), schedule.batch_size, schedule.seed, block=schedule.block, first=first
        ),
        schedule,
        config.output,
        job=config.identity,
        evaluate=objective.evaluate,
        progress=progress,
        stop_after=stop_after,
    )
    copy_tokenizer(Path(config.model), config.output)
    save_model(model, config.output, role, inputs.answers if role == "reranking" else (0, 0))
    return TrainedRun(config.output, steps, loss, metrics)


def in_batches(
    sizes: Sequence[int], rows: int, compute: Callable[[Sequence[int]], Tensor]
) -> Tensor:
    """Compute rows in batches of similar length, to save padding.

    Args:
        sizes: Approximate length of each row.
        rows: Maximum rows per batch.
        compute: Computes the rows with the given indices.

    Returns:
        The results in the order of `sizes`.
    """
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    parts = [compute(order[start : start + rows]) for start in range(0, len(order), rows)]
    found = torch.cat(parts)
    return found[torch.tensor(order).argsort().to(found.device)]
