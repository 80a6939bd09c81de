"""Former names of the BM25 embedders, for saved pipelines.

Such a pipeline is read as components of `bm25_embedders`, and saved under their names.
"""

from __future__ import annotations

from typing import Any

from haystack import component, default_from_dict

from haystack_integrations.components.embedders.qwen3_rag.bm25_embedders import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
)

__all__ = ["LexicalSparseDocumentEmbedder", "LexicalSparseTextEmbedder"]


@component
class LexicalSparseTextEmbedder(BM25SparseTextEmbedder):
    """Former name of `BM25SparseTextEmbedder`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BM25SparseTextEmbedder:
        """Make a `BM25SparseTextEmbedder`."""
        return default_from_dict(BM25SparseTextEmbedder, _renamed(data, BM25SparseTextEmbedder))


@component
class LexicalSparseDocumentEmbedder(BM25SparseDocumentEmbedder):
    """Former name of `BM25SparseDocumentEmbedder`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BM25SparseDocumentEmbedder:
        """Make a `BM25SparseDocumentEmbedder`."""
        return BM25SparseDocumentEmbedder.from_dict(_renamed(data, BM25SparseDocumentEmbedder))


def _renamed(data: dict[str, Any], kind: type) -> dict[str, Any]:
    return {**data, "type": f"{kind.__module__}.{kind.__name__}"}
