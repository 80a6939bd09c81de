"""`Qwen3HybridRetriever`: any of the core's searchers as LlamaIndex's retriever.

Knows hits and nodes; knows no store and no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from llama_index.embeddings.qwen3_rag.metadata import with_metadata
from qwen3_rag import Hit, InputTypeError, RankScore, Searcher
from qwen3_rag.integration import check_count, check_instruction

__all__ = ["LEGS", "Qwen3HybridRetriever", "with_legs"]

#: The metadata key under which a node has its rank and score in each leg of the search.
LEGS = "search_ranks"


class Qwen3HybridRetriever(BaseRetriever):
    """Retrieves nodes with a searcher, such as `HybridSearcher` of qwen3-rag-hybrid.

    A node that was stored with LlamaIndex's own payload (`node_to_metadata_dict`) comes back as it
    was, with its relationships; any other hit becomes a `TextNode` with the payload as metadata.
    `metadata["search_ranks"]` has rank and score in each leg, and no model reads it.

    Example:
        ```python
        retriever = Qwen3HybridRetriever(searcher, similarity_top_k=5)
        engine = RetrieverQueryEngine.from_args(retriever)
        ```
    """

    def __init__(
        self,
        searcher: Searcher,
        *,
        similarity_top_k: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Keep the searcher, which stays yours to close.

        Args:
            searcher: Answers queries with hits.
            similarity_top_k: How many nodes to retrieve, LlamaIndex's name for `limit`.
            offset: How many of the best to leave out first.
            filter: The store's own filter object, passed through unchanged.
            instruction: What queries are for; the searcher's own when omitted.
            callback_manager: For LlamaIndex's older events.
            verbose: Whether to tell of retrieval through index nodes.

        Raises:
            InputTypeError: `searcher` has no `search` and `asearch`.
            InputError: A number out of its range, or a blank instruction.
        """
        if not isinstance(searcher, Searcher):
            raise InputTypeError(
                "`searcher` must have `search` and `asearch`, such as a HybridSearcher, got "
                f"{type(searcher).__name__}."
            )
        check_count(similarity_top_k, "similarity_top_k", 1)
        check_count(offset, "offset", 0)
        if instruction is not None:
            check_instruction(instruction)
        self.searcher = searcher
        self.similarity_top_k = similarity_top_k
        self.offset = offset
        self.filter = filter
        self.instruction = instruction
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self.searcher.search(query_bundle.query_str, **self._settings()))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(await self.searcher.asearch(query_bundle.query_str, **self._settings()))

    def _settings(self) -> dict[str, Any]:
        return {
            "limit": self.similarity_top_k,
            "offset": self.offset,
            "filter": self.filter,
            "instruction": self.instruction,
        }

    def __reduce__(self) -> NoReturn:
        raise InputTypeError(
            "A Qwen3HybridRetriever cannot be pickled or copied: it holds a searcher with an open "
            "store. Make one of its own wherever one is needed."
        )


def with_legs(node: BaseNode, legs: Mapping[str, RankScore]) -> BaseNode:
    """Copy a node with its rank and score in each leg, as plain values.

    Args:
        node: Not changed.
        legs: By the leg's name.
    """
    places = {name: {"rank": leg.rank, "score": leg.score} for name, leg in legs.items()}
    return with_metadata(node, LEGS, places)


def _nodes(hits: Iterable[Hit]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=with_legs(_node(hit), hit.legs), score=float(hit.score)) for hit in hits
    ]


def _node(hit: Hit) -> BaseNode:
    payload = dict(hit.payload)
    if payload.get("_node_content") is None:
        return TextNode(id_=str(hit.id), text=hit.text, metadata=payload)
    node = metadata_dict_to_node(payload)
    if not node.get_content(metadata_mode=MetadataMode.NONE):  # stored with `remove_text=True`
        node.set_content(hit.text)
    return node
