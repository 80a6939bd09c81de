"""Notes on a node, in its metadata but in no text that a model reads.

Knows nodes; changes none.
"""

from __future__ import annotations

from typing import Any, TypeVar

from llama_index.core.schema import BaseNode

__all__ = ["with_metadata"]

NodeT = TypeVar("NodeT", bound=BaseNode)


def with_metadata(node: NodeT, key: str, value: Any) -> NodeT:
    """Copy a node with one more entry of metadata.

    LlamaIndex writes metadata into what embedding models, rerankers and language models read; this
    entry stays out of it.

    Args:
        node: Not changed; the copy shares its text.
        key: The entry's name.
        value: The entry.
    """
    return node.model_copy(
        update={
            "metadata": {**node.metadata, key: value},
            "excluded_embed_metadata_keys": _also(node.excluded_embed_metadata_keys, key),
            "excluded_llm_metadata_keys": _also(node.excluded_llm_metadata_keys, key),
        }
    )


def _also(keys: list[str], key: str) -> list[str]:
    return keys if key in keys else [*keys, key]
