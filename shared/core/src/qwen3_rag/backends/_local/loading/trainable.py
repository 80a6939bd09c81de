"""Opens a checkpoint to train it. Imports torch when it does, not before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen3_rag._prompts import SavedPrompts
from qwen3_rag._published import Role
from qwen3_rag.backends._checkpoint.hub import Checkpoint
from qwen3_rag.backends._checkpoint.words import read_words
from qwen3_rag.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer

__all__ = ["TrainableModel", "trainable_model"]


@dataclass(frozen=True)
class TrainableModel:
    """A checkpoint's weights in transformers' own classes, to train.

    Attributes:
        model: The whole model: a reranker's includes its head, an embedder's has none.
        tokenizer: Encodes prompts as the engine does.
        trunk: The part of `model` that computes hidden states. An adapter put into `model` is in it
            too.
        prompts: The prompts that the checkpoint was saved with.
        head: Returns a reranker's head, with its gradient: the rows of "no" and "yes"
            `[2, hidden]`, or one row `[1, hidden]` for the difference of their logits. `None` for
            an embedder.
    """

    model: PreTrainedModel
    tokenizer: PromptTokenizer
    trunk: PreTrainedModel
    prompts: SavedPrompts
    head: Callable[[], Tensor] | None


def trainable_model(
    checkpoint: Checkpoint, role: Role, *, dtype: str = "float32"
) -> TrainableModel:
    """Load a checkpoint onto the CPU to train it, with the checks of the two model classes.

    Args:
        checkpoint: A checkpoint from `resolve_checkpoint`.
        role: Whether it embeds or reranks.
        dtype: Number format of the weights: `"float32"`, `"bfloat16"` or `"float16"`.

    Raises:
        ModelError: The tokenizer or weights are missing, broken or of another shape, or the head
            is quantised or cannot tell yes from no.
    """
    import torch

    from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
    from qwen3_rag.backends._local.loading import weights
    from qwen3_rag.backends._local.loading.quantised import float_weight

    words = read_words(checkpoint, role)
    tokenizer = PromptTokenizer.from_folder(
        checkpoint.tokenizer_folder, role, name=checkpoint.name, answers=words.answers
    )
    model = weights.read_model(checkpoint, role, tokenizer, dtype=getattr(torch, dtype))
    if role == "embedding":
        return TrainableModel(model, tokenizer, model, words.prompts, None)

    def head() -> Tensor:
        return weights.answer_rows(model, tokenizer, checkpoint.name)

    layer = weights.head_of(model)
    if float_weight(layer) is not layer.weight:
        raise ModelError(
            f"The head of {checkpoint.name!r} is quantised, so it cannot be trained. Start from "
            "the checkpoint that it was quantised from."
        )
    weights.check_rows(head().detach().float(), checkpoint.name)
    return TrainableModel(model, tokenizer, model.model, words.prompts, head)
