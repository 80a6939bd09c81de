"""Fine-tuning of an embedding checkpoint with the contrastive loss of the Qwen3 report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen3_rag.errors import InputError
from qwen3_rag_training.data import Example
from qwen3_rag_training.evaluation import retrieval_metrics
from qwen3_rag_training.job import Objective, Training, TrainingSetup, in_batches, run_job
from qwen3_rag_training.loop import TrainedRun
from qwen3_rag_training.losses import DEFAULT_MARGIN, DEFAULT_TEMPERATURE, embedding_loss

__all__ = ["EmbeddingTraining", "train_embedder"]

# Documents per forward pass. All passes of a step share one backward pass.
_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class EmbeddingTraining(Training):
    """Configuration of an embedder's training; see `Training` for the common attributes.

    Attributes:
        temperature: Divides the similarities in the loss.
        margin: Margin of the false-negative mask.
        dims: Vector sizes to train for (MRL). Empty trains the full vector only.
    """

    temperature: float = DEFAULT_TEMPERATURE
    margin: float = DEFAULT_MARGIN
    dims: tuple[int, ...] = ()


def train_embedder(
    config: EmbeddingTraining, *, progress: bool = False, stop_after: int | None = None
) -> TrainedRun:
    """Train an embedder, or resume an interrupted run.

    Args:
        config: The training configuration.
        progress: Whether to show a progress bar on a terminal.
        stop_after: Stop after this many steps and save the state.

    Returns:
        The checkpoint's folder, the last loss and the held-out metrics. The checkpoint loads in
        `qwen3_rag`, transformers and sentence-transformers.

    Raises:
        InputError: The data or configuration is invalid, or the output folder holds another run.
        ModelError: The checkpoint cannot be read, or the loss is not finite.
    """

    def objective(setup: TrainingSetup, held_out: Sequence[Example]) -> Objective:
        if not all(0 < dim <= setup.dim for dim in config.dims):
            raise InputError(
                f"`dims` must be between 1 and the model's {setup.dim}, got {config.dims}."
            )

        def queries(chosen: Sequence[Example]) -> Tensor:
            texts = [example.query for example in chosen]
            instructions = [example.instruction for example in chosen]
            batch = setup.inputs.queries(texts, instructions, config.max_query_tokens)
            return setup.states(batch).float()

        def documents(texts: Sequence[str]) -> Tensor:
            def embed(rows: Sequence[int]) -> Tensor:
                chosen = [texts[row] for row in rows]
                batch = setup.inputs.documents(chosen, config.max_document_tokens)
                return setup.states(batch).float()

            return in_batches([len(text.encode()) for text in texts], _ROWS, embed)

        def loss(chosen: Sequence[Example]) -> Tensor:
            texts, positive_ids, negative_ids = _documents(chosen, config.negatives)
            vectors = documents(texts)
            return embedding_loss(
                queries(chosen),
                vectors[positive_ids],
                vectors[negative_ids.clamp(min=0)] if negative_ids.shape[1] else None,
                positive_ids=positive_ids.to(setup.device),
                negative_ids=negative_ids.to(setup.device) if negative_ids.shape[1] else None,
                temperature=config.temperature,
                margin=config.margin,
                dims=config.dims or None,
            )

        def evaluate() -> dict[str, float]:
            return retrieval_metrics(held_out, queries, documents, config.dims)

        return Objective(loss, evaluate if held_out else None)

    return run_job(config, "embedding", objective, progress=progress, stop_after=stop_after)


def _documents(examples: Sequence[Example], count: int) -> tuple[list[str], Tensor, Tensor]:
    """Number the distinct documents of a batch.

    Returns:
        The texts, the number of each example's positive, and the numbers of its negatives (-1
        where there is none).
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
