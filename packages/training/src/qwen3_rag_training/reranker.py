"""Fine-tuning of a reranking checkpoint: the right answer's likelihood over "no" and "yes".

Reads inference's own prompts and the same two rows of the head. Holds no arithmetic of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qwen3_rag.backends import RerankPrompt
from qwen3_rag_training.data import Example
from qwen3_rag_training.evaluation import pair_accuracy
from qwen3_rag_training.job import Objective, Training, Workbench, in_parts, run_job
from qwen3_rag_training.loop import TrainedRun
from qwen3_rag_training.losses import reranking_loss

__all__ = ["RerankingTraining", "train_reranker"]

# Pairs of one forward pass. All passes of a step share one backward pass.
_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class RerankingTraining(Training):
    """What to train a reranker on, and how; the attributes are those of `Training`.

    Each example gives one pair to answer with "yes" and one per negative to answer with "no".
    """

    negatives: int = 3
    max_query_tokens: int = 128


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

    def objective(bench: Workbench, held_out: Sequence[Example]) -> Objective:
        def answers(prompts: Sequence[RerankPrompt]) -> Tensor:
            """Logits of "no" and "yes", `[pairs, 2]`."""
            table: Tensor = bench.model.get_output_embeddings().weight
            head = table[list(bench.inputs.answers)]

            def some(rows: Sequence[int]) -> Tensor:
                chosen = [prompts[row] for row in rows]
                batch = bench.inputs.pairs(
                    chosen, config.max_query_tokens, config.max_document_tokens
                )
                return (bench.states(batch) @ head.T).float()

            return in_parts([len(prompt.rendered.encode()) for prompt in prompts], _ROWS, some)

        def loss(chosen: Sequence[Example]) -> Tensor:
            prompts, labels = _judged(chosen, config.negatives)
            logits = answers(prompts)
            target = torch.tensor(labels, device=bench.device)
            return reranking_loss(logits[:, 0], logits[:, 1], target)

        judged = [example for example in held_out if example.negatives]

        def figures() -> dict[str, float]:
            prompts, labels = _judged(judged, 1)
            logits = torch.cat(
                [answers(prompts[start : start + 256]) for start in range(0, len(prompts), 256)]
            )
            scores = (logits[:, 1] - logits[:, 0]).cpu().numpy()
            target = torch.tensor(labels, device=bench.device)
            return {
                "pair_accuracy": pair_accuracy(scores[0::2].tolist(), scores[1::2].tolist()),
                "held_out_loss": float(reranking_loss(logits[:, 0], logits[:, 1], target)),
            }

        return Objective(loss, figures if judged else None)

    return run_job(config, "reranking", objective, progress=progress, stop_after=stop_after)


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
