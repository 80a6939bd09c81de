"""One frozen record per published checkpoint.

Sizes and contexts are the model cards' and config files' own figures. Revisions are pinned so that
scores stay the same when a repository changes. Knows no network and no prompt text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CONTEXT", "MIN_DIM", "PUBLISHED", "PublishedModel", "Role", "published"]

Role: TypeAlias = Literal["embedding", "reranking"]

#: Smallest vector the authors trained for (Qwen3-Embedding model card, "MRL Support").
MIN_DIM = 32

#: Longest input the authors state for all six (model cards, "Sequence Length").
CONTEXT = 32_768


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint its authors published.

    Attributes:
        name: Repository on the Hugging Face Hub; ModelScope uses the same name.
        role: What it does.
        revision: Commit on the Hugging Face Hub.
        layers: Transformer layers.
        dim: Hidden size, which for an embedding model is the size of its full vector.
        context: Longest input in tokens.
        tied: Whether the language-model head is the embedding table.
    """

    name: str
    role: Role
    revision: str
    layers: int
    dim: int
    tied: bool
    context: int = CONTEXT


_RECORDS = (
    PublishedModel(
        "Qwen/Qwen3-Embedding-0.6B",
        "embedding",
        "97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
        layers=28,
        dim=1024,
        tied=True,
    ),
    # Revisions from here on as pinned by mteb (qwen3_models.py, qwen3_reranker.py), except the
    # small reranker's, which is the one whose tokenizer our golden ids were taken from.
    PublishedModel(
        "Qwen/Qwen3-Embedding-4B",
        "embedding",
        "636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff",
        layers=36,
        dim=2560,
        tied=True,
    ),
    PublishedModel(
        "Qwen/Qwen3-Embedding-8B",
        "embedding",
        "4e423935c619ae4df87b646a3ce949610c66241c",
        layers=36,
        dim=4096,
        tied=False,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-0.6B",
        "reranking",
        "e61197ed45024b0ed8a2d74b80b4d909f1255473",
        layers=28,
        dim=1024,
        tied=True,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-4B",
        "reranking",
        "f16fc5d5d2b9b1d0db8280929242745d79794ef5",
        layers=36,
        dim=2560,
        tied=True,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-8B",
        "reranking",
        "5fa94080caafeaa45a15d11f969d7978e087a3db",
        layers=36,
        dim=4096,
        tied=False,
    ),
)

PUBLISHED = {record.name: record for record in _RECORDS}


def published(model: str) -> PublishedModel | None:
    """Find the record of a model id.

    Args:
        model: `Qwen/...` or `modelscope:Qwen/...`.

    Returns:
        The record, or `None` for a folder or somebody else's checkpoint.
    """
    return PUBLISHED.get(model.removeprefix("modelscope:"))
