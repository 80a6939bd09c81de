"""The code that training an embedder and training a reranker share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from qwen3_rag.backends import Role
from qwen3_rag.errors import InputError
from qwen3_rag.integration import Checkpoint, TrainableModel, published, trainable_model
from qwen3_rag_training.checkpoints import copy_layout, make_folder, write_weights
from qwen3_rag_training.data import Example, batches, read_examples
from qwen3_rag_training.inputs import Inputs, TokenBatch
from qwen3_rag_training.loop import Schedule, TrainedRun, optimise
from qwen3_rag_training.lora import LoRA, add_adapter, merged, require_peft, write_adapter
from qwen3_rag_training.modules import add_template, write_modules
from qwen3_rag_training.start import find_start

__all__ = ["DTYPES", "Objective", "Training", "TrainingSetup", "in_batches", "run_job"]

DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Configuration that both kinds of training share.

    Attributes:
        model: Checkpoint to start from: a folder, an id, or `"tiny"`.
        data: Training examples in JSON lines; see `data.read_examples`.
        output: Folder for the checkpoint, the log and the training state.
        schedule: Number of steps, batch size and learning rate.
        held_out: Examples to evaluate on, in JSON lines.
        lora: The adapter to train beside frozen weights. `None` trains all weights.
        negatives: Number of hard negatives to use per example, from the start of its list.
        max_query_tokens: Maximum tokens per query; longer queries are cut.
        max_document_tokens: Maximum tokens per document; longer documents are cut.
        device: Torch device.
        dtype: Number format of the weights. An adapter is trained in float32 in any case.
    """

    model: str | os.PathLike[str]
    data: Path
    output: Path
    schedule: Schedule
    held_out: Path | None = None
    lora: LoRA | None = None
    negatives: int = 1
    max_query_tokens: int = 256
    max_document_tokens: int = 512
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"`dtype` must be one of {', '.join(DTYPES)}, got {self.dtype!r}.")
        for name, least in (("negatives", 0), ("max_query_tokens", 1), ("max_document_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise InputError(
                f"`device` must be a torch device such as 'cpu' or 'cuda:0', got {self.device!r}."
            ) from error

    def identity(self, start: Checkpoint) -> str:
        """Hash everything that affects the result, except the schedule."""
        settings = asdict(self)
        for name in ("schedule", "output", "held_out", "device", "data", "model"):
            del settings[name]
        if settings["lora"]:
            del settings["lora"]["merged"]  # a finished run can be saved in both forms
        digest = hashlib.sha256(self.data.read_bytes()).hexdigest()
        return f"{sorted(settings.items())} {digest} {start.fingerprint}"


@dataclass(frozen=True)
class TrainingSetup:
    """The loaded model, its tokenizer and the device it is on."""

    start: TrainableModel
    device: torch.device

    @cached_property
    def inputs(self) -> Inputs:
        """Encodes texts for the model."""
        return Inputs(self.start)

    @property
    def dim(self) -> int:
        """Size of the hidden states."""
        return int(self.start.trunk.config.hidden_size)

    def states(self, batch: TokenBatch) -> Tensor:
        """Compute the hidden states after the final norm, at the last token of each row."""
        batch = batch.to(self.device)
        hidden: Tensor = self.start.trunk(
            input_ids=batch.ids, attention_mask=batch.mask, use_cache=False
        ).last_hidden_state
        return hidden[torch.arange(len(batch.ids), device=hidden.device), batch.last]

    def logits(self, batch: TokenBatch) -> Tensor:
        """Compute the logits of "no" and "yes", `[rows, 2]`."""
        assert self.start.head is not None
        found = self.states(batch) @ self.start.head().T
        if found.shape[1] == 1:  # a classifier's one row gives the difference
            found = torch.cat([torch.zeros_like(found), found], dim=1)
        return found.float()


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
    if config.lora:
        require_peft()
    examples = read_examples(config.data)
    held_out = read_examples(config.held_out) if config.held_out else []
    base = find_start(config.model, role, config.lora)
    make_folder(config.output)
    if config.output.resolve() in (base.folder.resolve(), base.root.resolve()):
        raise InputError(
            f"`output` {str(config.output)!r} is the checkpoint to start from. Choose another."
        )
    start = trainable_model(base, role, dtype=config.dtype)
    schedule = config.schedule
    model: nn.Module = start.model
    if config.lora:
        model = add_adapter(start.model, config.lora, schedule.seed)
    device = torch.device(config.device)
    if getattr(start.model, "quantization_method", None) is None:  # else it has its place
        model.to(device)
    setup = TrainingSetup(start, device)
    objective = make_objective(setup, held_out)
    steps = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    loss, metrics = optimise(
        model,
        lambda batch: objective.loss([examples[index] for index in batch]),
        lambda first: batches(
            len(examples), schedule.batch_size, schedule.seed, block=schedule.block, first=first
        ),
        schedule,
        config.output,
        job=config.identity(base),
        evaluate=objective.evaluate,
        progress=progress,
        stop_after=stop_after,
    )
    _write(config, role, base, setup, model)
    return TrainedRun(config.output, steps, loss, metrics)


def _write(
    config: Training, role: Role, base: Checkpoint, setup: TrainingSetup, model: nn.Module
) -> None:
    """Write the result with the tokenizer, prompts and modules of the checkpoint it is from."""
    copy_layout(base, config.output)
    if not hasattr(setup.start.model, "score"):  # a classifier needs no other files
        answers = setup.inputs.answers if role == "reranking" else (0, 0)
        if not (base.root / "modules.json").is_file():
            write_modules(config.output, role, setup.dim, answers)
        if role == "reranking":
            add_template(config.output)
    if config.lora and not config.lora.merged:
        record = published(base.name)
        write_adapter(model, base, record.revision if record else None, config.output)
    else:
        write_weights(merged(model) if config.lora else setup.start.model, config.output)


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
