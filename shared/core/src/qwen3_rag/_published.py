"""The published checkpoints, with their sizes and pinned revisions.

Revisions are pinned so that scores stay the same when a repository changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CONTEXT", "MIN_DIM", "PUBLISHED", "PublishedModel", "Role", "published"]

Role: TypeAlias = Literal["embedding", "reranking"]

#: Smallest vector the authors trained for (Qwen3-Embedding model card, "MRL Support").
MIN_DIM = 32

#: Longest input of all six models (model cards, "Sequence Length").
CONTEXT = 32_768


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint published by the models' authors.

    Attributes:
        name: Repository on the Hugging Face Hub; ModelScope uses the same name.
        role: Whether it embeds or reranks.
        revision: Commit on the Hugging Face Hub.
        dim: Hidden size; for an embedding model, the size of its full vector.
        context: Longest input in tokens.
    """

    name: str
    role: Role
    revision: str
    dim: int
    context: int = CONTEXT


_RECORDS = (
    PublishedModel(
        "Qwen/Qwen3-Embedding-0.6B",
        "embedding",
        "97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
        dim=1024,
    ),
    # The revisions that mteb pins (qwen3_models.py, qwen3_reranker.py), except the 0.6B reranker's,
    # whose tokenizer produced the expected ids in the tests.
    PublishedModel(
        "Qwen/Qwen3-Embedding-4B",
        "embedding",
        "636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff",
        dim=2560,
    ),
    PublishedModel(
        "Qwen/Qwen3-Embedding-8B",
        "embedding",
        "4e423935c619ae4df87b646a3ce949610c66241c",
        dim=4096,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-0.6B",
        "reranking",
        "e61197ed45024b0ed8a2d74b80b4d909f1255473",
        dim=1024,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-4B",
        "reranking",
        "f16fc5d5d2b9b1d0db8280929242745d79794ef5",
        dim=2560,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-8B",
        "reranking",
        "5fa94080caafeaa45a15d11f969d7978e087a3db",
        dim=4096,
    ),
)

PUBLISHED = {record.name: record for record in _RECORDS}


def published(model: str) -> PublishedModel | None:
    """Look up a model id.

    Args:
        model: `Qwen/...` or `modelscope:Qwen/...`.

    Returns:
        The published model, or `None` for a folder or any other checkpoint.
    """
    return PUBLISHED.get(model.removeprefix("modelscope:"))
