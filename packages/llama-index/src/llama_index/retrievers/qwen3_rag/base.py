"""`Qwen3HybridRetriever`: any of the core's searchers as LlamaIndex's retriever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from llama_index.embeddings.qwen3_rag.nodes import RankedNode
from qwen3_rag import Hit, InputTypeError, Searcher
from qwen3_rag.integration import check_count, check_instruction
from qwen3_rag.search import further_arguments

__all__ = ["Qwen3HybridRetriever"]


class Qwen3HybridRetriever(BaseRetriever):
    """Retrieves nodes with a searcher, such as `HybridSearcher` from qwen3-rag-hybrid.

    A node that was stored with LlamaIndex's own payload (`node_to_metadata_dict`) is returned
    unchanged, with its relationships; any other hit becomes a `TextNode` with the payload as
    metadata. Results are `RankedNode`s: `ranks` has the rank and score in each step of the search.

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
        ids: Sequence[str | int] | None = None,
        tenant: str | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        per_group: int | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Store the searcher. Closing it is up to you.

        Args:
            searcher: The searcher that answers queries.
            similarity_top_k: Number of nodes to retrieve; LlamaIndex's name for `limit`.
            offset: Number of top nodes to skip.
            filter: The store's own filter object, passed on unchanged.
            instruction: What queries are for; defaults to the searcher's.
            ids: Ids of the documents to search in; all when omitted.
            tenant: The tenant whose documents are searched, in a collection with tenants.
            min_score: Minimum score of a node, as the searcher's reranker gives it.
            group_by: Metadata field by which nodes are grouped; `similarity_top_k` and `offset`
                then count groups.
            per_group: Number of nodes to retrieve of each group; 1 when omitted.
            callback_manager: For LlamaIndex's older events.
            verbose: Whether to print a line for each index node that is followed.

        Raises:
            InputTypeError: `searcher` has no `search` and `asearch`.
            InputError: A number is out of range, the instruction is blank, or the searcher does not
                take an argument.
        """
        if not isinstance(searcher, Searcher):
            raise InputTypeError(
                "`searcher` must have `search` and `asearch`, such as a HybridSearcher, got "
                f"{type(searcher).__name__}."
            )
        check_count(similarity_top_k, "similarity_top_k", 1, required=True)
        check_count(offset, "offset", 0, required=True)
        if instruction is not None:
            check_instruction(instruction)
        self.searcher = searcher
        self.similarity_top_k = similarity_top_k
        self.offset = offset
        self.filter = filter
        self.instruction = instruction
        self._further = further_arguments(
            searcher,
            ids=ids,
            tenant=tenant,
            min_score=min_score,
            group_by=group_by,
            per_group=per_group,
        )
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
            **self._further,
        }

    def __reduce__(self) -> NoReturn:
        raise InputTypeError(
            "A Qwen3HybridRetriever cannot be pickled or copied: it holds a searcher with an open "
            "store. Make one of its own wherever one is needed."
        )


def _nodes(hits: Iterable[Hit]) -> list[NodeWithScore]:
    return [
        RankedNode(node=_node(hit), score=float(hit.score), ranks=dict(hit.ranks)) for hit in hits
    ]


def _node(hit: Hit) -> BaseNode:
    payload = dict(hit.payload)
    if payload.get("_node_content") is None:
        return TextNode(id_=str(hit.id), text=hit.text, metadata=payload)
    node = metadata_dict_to_node(payload)
    if not node.get_content(metadata_mode=MetadataMode.NONE):  # stored with `remove_text=True`
        node.set_content(hit.text)
    return node
