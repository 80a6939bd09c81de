"""Fine-tuning of a reranking checkpoint: the right answer's likelihood over "no" and "yes".

Reads inference's own prompts and the same two rows of the head. Holds no arithmetic of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from qwen3_rag.errors import InputError
from qwen3_rag.prompts import RerankPrompt
from qwen3_rag_training.checkpoints import (
    DTYPES,
    copy_tokenizer,
    last_hidden,
    load_model,
    save_model,
)
from qwen3_rag_training.data import Example, batches, read_examples
from qwen3_rag_training.evaluation import pair_accuracy
from qwen3_rag_training.inputs import Inputs
from qwen3_rag_training.loop import Schedule, TrainedRun, optimise
from qwen3_rag_training.losses import reranking_loss

__all__ = ["RerankingTraining", "train_reranker"]

# Pairs of one forward pass. All passes of a step share one backward pass.
_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class RerankingTraining:
    """What to train a reranker on, and how.

    Attributes:
        model: Checkpoint folder to start from.
        data: JSON lines; see `data.read_examples`. Each example gives one pair to answer with
            "yes" and one per negative to answer with "no".
        output: Folder for the result, the log and the state.
        schedule: How long and how fast; a batch is that many examples.
        held_out: JSON lines to evaluate on; none when omitted.
        negatives: Negatives used per example, the first ones of each.
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
    negatives: int = 3
    max_query_tokens: int = 128
    max_document_tokens: int = 512
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"`dtype` must be one of {sorted(DTYPES)}, got {self.dtype!r}.")

    @property
    def job(self) -> str:
        """Changes when anything but the schedule changes that decides the numbers."""
        settings = asdict(self)
        for name in ("schedule", "output", "held_out", "device", "data", "model"):
            del settings[name]
        digest = hashlib.sha256(self.data.read_bytes()).hexdigest()
        return f"{sorted(settings.items())} {digest}"


def train_reranker(
    config: RerankingTraining, *, progress: bool = False, stop_after: int | None = None
) -> TrainedRun:
    """Train, or go on where a killed run stopped.

    Args:
        config: The job.
        progress: Whether to show a bar on a terminal.
        stop_after: Leave after this many steps, with a saved state.

    Returns:
        Where the checkpoint is and how it did. It loads in core, transformers and
        sentence-transformers.

    Raises:
        InputError: The data or settings cannot be used, or the output folder holds another run.
        ModelError: The checkpoint cannot be read, or the loss became infinite.
    """
    examples = read_examples(config.data)
    held_out = read_examples(config.held_out) if config.held_out else []
    device = torch.device(config.device)
    model = load_model(config.model, dtype=DTYPES[config.dtype], device=device)
    context = int(model.config.max_position_embeddings)
    inputs = Inputs(Path(config.model), "reranking", context=context)

    def answers(prompts: Sequence[RerankPrompt]) -> Tensor:
        """Logits of "no" and "yes", `[pairs, 2]`."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].rendered.encode()))
        head = model.get_output_embeddings().weight[list(inputs.answers)]
        parts = []
        for start in range(0, len(order), _ROWS):
            some = [prompts[index] for index in order[start : start + _ROWS]]
            batch = inputs.pairs(some, config.max_query_tokens, config.max_document_tokens)
            batch = batch.to(device)
            parts.append(last_hidden(model, batch.ids, batch.mask, batch.last) @ head.T)
        return torch.cat(parts).float()[torch.tensor(order).argsort().to(device)]

    def loss_of(batch: list[int]) -> Tensor:
        prompts, labels = _judged([examples[index] for index in batch], config.negatives)
        logits = answers(prompts)
        return reranking_loss(logits[:, 0], logits[:, 1], torch.tensor(labels, device=device))

    def evaluate() -> dict[str, float]:
        chosen = [example for example in held_out if example.negatives]
        prompts, labels = _judged(chosen, 1)
        logits = torch.cat(
            [answers(prompts[start : start + 256]) for start in range(0, len(prompts), 256)]
        )
        scores = (logits[:, 1] - logits[:, 0]).cpu().numpy()
        target = torch.tensor(labels, device=device)
        return {
            "pair_accuracy": pair_accuracy(scores[0::2].tolist(), scores[1::2].tolist()),
            "held_out_loss": float(reranking_loss(logits[:, 0], logits[:, 1], target)),
        }

    schedule = config.schedule
    loss, figures = optimise(
        model,
        loss_of,
        lambda first: batches(
            len(examples), schedule.batch_size, schedule.seed, block=schedule.block, first=first
        ),
        schedule,
        config.output,
        job=config.job,
        evaluate=evaluate if any(example.negatives for example in held_out) else None,
        progress=progress,
        stop_after=stop_after,
    )
    copy_tokenizer(Path(config.model), config.output)
    save_model(model, config.output, "reranking", inputs.answers)
    return TrainedRun(config.output, stop_after or schedule.steps, loss, figures)


def _judged(examples: Sequence[Example], count: int) -> tuple[list[RerankPrompt], list[int]]:
    """Pairs and labels: each example's positive, then its negatives."""
    prompts, labels = [], []
    for example in examples:
        for label, text in (
            (1, example.positive),
            *((0, text) for text in example.negatives[:count]),
        ):
            prompts.append(RerankPrompt(example.query, text, example.instruction))
            labels.append(label)
    return prompts, labels
