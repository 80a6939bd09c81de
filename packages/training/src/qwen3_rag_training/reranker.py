"""Fine-tuning of a reranking checkpoint on the likelihood of "yes" and "no".

It uses the same prompts and the same two rows of the output layer as inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen3_rag.backends import RerankPrompt
from qwen3_rag_training.data import Example
from qwen3_rag_training.evaluation import pair_accuracy
from qwen3_rag_training.inputs import Inputs
from qwen3_rag_training.job import Objective, Training, TrainingSetup, in_batches, run_job
from qwen3_rag_training.loop import TrainedRun
from qwen3_rag_training.losses import reranking_loss

__all__ = ["RerankingTraining", "train_reranker"]

# Pairs per forward pass. All passes of a step share one backward pass.
_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class RerankingTraining(Training):
    """Configuration of a reranker's training; see `Training` for the attributes.

    Each example gives one pair with the answer "yes" and, per negative, one with the answer "no".
    """

    negatives: int = 3
    max_query_tokens: int = 128


def train_reranker(
    config: RerankingTraining, *, progress: bool = False, stop_after: int | None = None
) -> TrainedRun:
    """Train a reranker, or resume an interrupted run.

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
        def answers(prompts: Sequence[RerankPrompt]) -> Tensor:
            """Compute the logits of "no" and "yes", `[pairs, 2]`."""

            def compute(rows: Sequence[int]) -> Tensor:
                chosen = [prompts[row] for row in rows]
                batch = setup.inputs.pairs(
                    chosen, config.max_query_tokens, config.max_document_tokens
                )
                return setup.logits(batch)

            return in_batches([len(prompt.rendered.encode()) for prompt in prompts], _ROWS, compute)

        def loss(chosen: Sequence[Example]) -> Tensor:
            prompts, labels = _labelled_pairs(setup.inputs, chosen, config.negatives)
            logits = answers(prompts)
            target = torch.tensor(labels, device=setup.device)
            return reranking_loss(logits[:, 0], logits[:, 1], target)

        with_negatives = [example for example in held_out if example.negatives]

        def evaluate() -> dict[str, float]:
            prompts, labels = _labelled_pairs(setup.inputs, with_negatives, 1)
            logits = torch.cat(
                [answers(prompts[start : start + 256]) for start in range(0, len(prompts), 256)]
            )
            scores = (logits[:, 1] - logits[:, 0]).cpu().numpy()
            target = torch.tensor(labels, device=setup.device)
            return {
                "pair_accuracy": pair_accuracy(scores[0::2].tolist(), scores[1::2].tolist()),
                "held_out_loss": float(reranking_loss(logits[:, 0], logits[:, 1], target)),
            }

        return Objective(loss, evaluate if with_negatives else None)

    return run_job(config, "reranking", objective, progress=progress, stop_after=stop_after)


def _labelled_pairs(
    inputs: Inputs, examples: Sequence[Example], count: int
) -> tuple[list[RerankPrompt], list[int]]:
    """List pairs with their labels: each example's positive, then its negatives."""
    prompts, labels = [], []
    for example in examples:
        for label, text in (
            (1, example.positive),
            *((0, text) for text in example.negatives[:count]),
        ):
            prompts.append(inputs.pair(example.query, text, example.instruction))
            labels.append(label)
    return prompts, labels
