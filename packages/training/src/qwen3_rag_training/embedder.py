"""Fine-tuning of an embedding checkpoint with the report's contrastive loss.

Puts together what the other modules know; holds no arithmetic of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from qwen3_rag.errors import InputError
from qwen3_rag_training.checkpoints import (
    DTYPES,
    copy_tokenizer,
    last_hidden,
    load_model,
    save_model,
)
from qwen3_rag_training.data import Example, batches, read_examples
from qwen3_rag_training.evaluation import retrieval_figures
from qwen3_rag_training.inputs import Inputs, TokenBatch
from qwen3_rag_training.loop import Schedule, TrainedRun, optimise
from qwen3_rag_training.losses import DEFAULT_MARGIN, DEFAULT_TEMPERATURE, embedding_loss

__all__ = ["EmbeddingTraining", "train_embedder"]

# Documents of one forward pass. All passes of a step share one backward pass.
_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class EmbeddingTraining:
    """What to train an embedder on, and how.

    Attributes:
        model: Checkpoint folder to start from.
        data: JSON lines; see `data.read_examples`.
        output: Folder for the result, the log and the state.
        schedule: How long and how fast.
        held_out: JSON lines to evaluate on; none when omitted.
        temperature: Divides the similarities.
        margin: Of the false-negative mask.
        dims: Vector sizes to train for (MRL); the whole vector alone when empty.
        negatives: Hard negatives used per example, the first ones of each.
        max_query_tokens: Longest query, its instruction included.
        max_document_tokens: Longest document.
        device: A torch device.
        dtype: Number format to train in.
    """

    model: Path
    data: Path
    output: Path
    schedule: Schedule
    held_out: Path | None = None
    temperature: float = DEFAULT_TEMPERATURE
    margin: float = DEFAULT_MARGIN
    dims: tuple[int, ...] = ()
    negatives: int = 1
    max_query_tokens: int = 256
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


def train_embedder(
    config: EmbeddingTraining, *, progress: bool = False, stop_after: int | None = None
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
    inputs = Inputs(Path(config.model), "embedding", context=context)
    longest = config.max_document_tokens

    def vectors(batch: TokenBatch) -> Tensor:
        batch = batch.to(device)
        return last_hidden(model, batch.ids, batch.mask, batch.last).float()

    def queries(chosen: Sequence[Example]) -> Tensor:
        texts = [example.query for example in chosen]
        why = [example.instruction for example in chosen]
        return vectors(inputs.queries(texts, why, config.max_query_tokens))

    def documents(texts: Sequence[str]) -> Tensor:
        # Documents of like length together: most of a batch would be filling otherwise.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index].encode()))
        parts = [
            vectors(inputs.documents([texts[i] for i in order[start : start + _ROWS]], longest))
            for start in range(0, len(order), _ROWS)
        ]
        return torch.cat(parts)[torch.tensor(order).argsort().to(device)]

    def loss_of(batch: list[int]) -> Tensor:
        chosen = [examples[index] for index in batch]
        texts, positive_ids, negative_ids = _documents(chosen, config.negatives)
        found = documents(texts)
        return embedding_loss(
            queries(chosen),
            found[positive_ids],
            found[negative_ids.clamp(min=0)] if negative_ids.shape[1] else None,
            positive_ids=positive_ids.to(device),
            negative_ids=negative_ids.to(device) if negative_ids.shape[1] else None,
            temperature=config.temperature,
            margin=config.margin,
            dims=config.dims or None,
        )

    def evaluate() -> dict[str, float]:
        return retrieval_figures(held_out, queries, documents, config.dims)

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
        evaluate=evaluate if held_out else None,
        progress=progress,
        stop_after=stop_after,
    )
    copy_tokenizer(Path(config.model), config.output)
    save_model(model, config.output, "embedding", (0, 0))
    return TrainedRun(config.output, stop_after or schedule.steps, loss, figures)


def _documents(examples: Sequence[Example], count: int) -> tuple[list[str], Tensor, Tensor]:
    """Number the batch's documents, each different text once.

    Returns:
        Texts; the positive's number of each example; numbers of its negatives, -1 for none.
    """
    numbers: dict[str, int] = {}
    for example in examples:
        for text in (example.positive, *example.negatives[:count]):
            numbers.setdefault(text, len(numbers))
    positives = torch.tensor([numbers[example.positive] for example in examples])
    width = max(len(example.negatives[:count]) for example in examples)
    negatives = torch.full((len(examples), width), -1)
    for row, example in enumerate(examples):
        for column, text in enumerate(example.negatives[:count]):
            negatives[row, column] = numbers[text]
    return list(numbers), positives, negatives
