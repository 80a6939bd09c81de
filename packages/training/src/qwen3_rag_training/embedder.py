"""Fine-tuning of an embedding checkpoint with the report's contrastive loss.

Puts together what the other modules know; holds no arithmetic of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen3_rag.errors import InputError
from qwen3_rag_training.data import Example
from qwen3_rag_training.evaluation import retrieval_figures
from qwen3_rag_training.job import Objective, Training, Workbench, in_parts, run_job
from qwen3_rag_training.loop import TrainedRun
from qwen3_rag_training.losses import DEFAULT_MARGIN, DEFAULT_TEMPERATURE, embedding_loss

__all__ = ["EmbeddingTraining", "train_embedder"]

# Documents of one forward pass. All passes of a step share one backward pass.
_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class EmbeddingTraining(Training):
    """What to train an embedder on, and how; further attributes are those of `Training`.

    Attributes:
        temperature: Divides the similarities.
        margin: Of the false-negative mask.
        dims: Vector sizes to train for (MRL); the whole vector alone when empty.
    """

    temperature: float = DEFAULT_TEMPERATURE
    margin: float = DEFAULT_MARGIN
    dims: tuple[int, ...] = ()


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

    def objective(bench: Workbench, held_out: Sequence[Example]) -> Objective:
        size = int(bench.model.config.hidden_size)
        if not all(0 < dim <= size for dim in config.dims):
            raise InputError(f"`dims` must be between 1 and the model's {size}, got {config.dims}.")

        def queries(chosen: Sequence[Example]) -> Tensor:
            texts = [example.query for example in chosen]
            why = [example.instruction for example in chosen]
            return bench.states(bench.inputs.queries(texts, why, config.max_query_tokens)).float()

        def documents(texts: Sequence[str]) -> Tensor:
            def some(rows: Sequence[int]) -> Tensor:
                chosen = [texts[row] for row in rows]
                batch = bench.inputs.documents(chosen, config.max_document_tokens)
                return bench.states(batch).float()

            return in_parts([len(text.encode()) for text in texts], _ROWS, some)

        def loss(chosen: Sequence[Example]) -> Tensor:
            texts, positive_ids, negative_ids = _documents(chosen, config.negatives)
            found = documents(texts)
            return embedding_loss(
                queries(chosen),
                found[positive_ids],
                found[negative_ids.clamp(min=0)] if negative_ids.shape[1] else None,
                positive_ids=positive_ids.to(bench.device),
                negative_ids=negative_ids.to(bench.device) if negative_ids.shape[1] else None,
                temperature=config.temperature,
                margin=config.margin,
                dims=config.dims or None,
            )

        def figures() -> dict[str, float]:
            return retrieval_figures(held_out, queries, documents, config.dims)

        return Objective(loss, figures if held_out else None)

    return run_job(config, "embedding", objective, progress=progress, stop_after=stop_after)


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
