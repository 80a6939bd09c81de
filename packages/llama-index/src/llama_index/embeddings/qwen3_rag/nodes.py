"""`RankedNode`: a retrieved node with its rank and score in each step of the search."""

from __future__ import annotations

from llama_index.core.schema import NodeWithScore
from pydantic import Field

from qwen3_rag import RankScore

__all__ = ["RankedNode"]


class RankedNode(NodeWithScore):
    """A node with its score, and its rank and score in each step of the search.

    Ranks depend on the query, so they are kept outside the node. In its metadata, they would change
    `node.hash`, by which LlamaIndex recognises equal nodes.
    """

    ranks: dict[str, RankScore] = Field(
        default_factory=dict,
        description="Rank and score by the name of the step, such as 'dense', 'bm25' or 'rerank'.",
    )

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores the class."""
        return "RankedNode"
