"""`Qwen3Rerank`: the core's reranker as LlamaIndex's node postprocessor.

Knows nodes and both of LlamaIndex's event systems; prompts and scores are the core's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self, cast

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # LlamaIndex re-exports it unsaid
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field

from llama_index.embeddings.qwen3_rag.component import ModelName, Qwen3Component
from llama_index.embeddings.qwen3_rag.metadata import with_metadata
from qwen3_rag import InputError, Qwen3Reranker, RankedDocument

__all__ = ["RETRIEVAL_SCORE", "Qwen3Rerank"]

dispatcher = get_dispatcher(__name__)

#: The metadata key under which `keep_retrieval_score` keeps the score a node came with.
RETRIEVAL_SCORE = "retrieval_score"


class Qwen3Rerank(Qwen3Component, BaseNodePostprocessor):
    """Orders nodes by how well they answer the query, with a Qwen3-Reranker model.

    The score becomes the probability that a node answers, 0 to 1. Nodes given are not changed.
    Light to make, copy and pickle: the model is loaded at first use or by `warm_up()`, once per
    process. Beside LlamaIndex's `top_n`, `keep_retrieval_score` and `metadata_mode` the fields are
    the arguments of `qwen3_rag.Qwen3Reranker`.

    Example:
        ```python
        engine = index.as_query_engine(
            similarity_top_k=50, node_postprocessors=[Qwen3Rerank(top_n=5)]
        )
        ```

    Raises:
        ValidationError: A field of a wrong type, or a name that is no field.
        InputError: A value out of its range.
    """

    door_class: ClassVar[type[Door]] = Qwen3Reranker
    model_field: ClassVar[str] = "model"

    model: ModelName = Field(
        default="Qwen/Qwen3-Reranker-0.6B",
        description="A Hugging Face id, `modelscope:` and an id, `tiny`, or a checkpoint's folder.",
    )
    top_n: int | None = Field(default=5, ge=1, description="Nodes to return; all when None.")
    max_query_tokens: int | None = Field(default=None, description="Cut longer queries.")
    max_document_tokens: int | None = Field(default=None, description="Cut longer nodes.")
    score: Literal["probability", "logit"] = Field(
        default="probability",
        description="What nodes get: 0 to 1, or log-odds, which tell apart where 1.0 is reached.",
    )
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, description="Which of a node's metadata the model reads."
    )
    keep_retrieval_score: bool = Field(
        default=False, description="Whether metadata keeps the score that a node came with."
    )

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as LlamaIndex stores it."""
        return "Qwen3Rerank"

    @classmethod
    def from_reranker(cls, reranker: Qwen3Reranker, **fields: Any) -> Self:
        """Make one of a core reranker: its settings, and its model where those do not name it.

        Such a model is one handed over with `Qwen3Reranker.from_model`, quantised for instance, or
        a backend of your own. It stays yours to close, and the result cannot be pickled.

        Args:
            reranker: The core's door.
            **fields: LlamaIndex's own, such as `top_n` and `keep_retrieval_score`.
        """
        return cls._around(reranker, fields)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._events(nodes, _query(query_bundle)) as found:
            if nodes:
                reranker = cast(Qwen3Reranker, self._open())
                found += self._scored(
                    nodes, reranker.rank(_query(query_bundle), self._texts(nodes), top_k=self.top_n)
                )
        return found

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._events(nodes, _query(query_bundle)) as found:
            if nodes:
                reranker = cast(Qwen3Reranker, self._open())
                found += self._scored(
                    nodes,
                    await reranker.arank(
                        _query(query_bundle), self._texts(nodes), top_k=self.top_n
                    ),
                )
        return found

    @contextmanager
    def _events(self, nodes: list[NodeWithScore], query: str) -> Iterator[list[NodeWithScore]]:
        """Tell both event systems of the start and, whatever happens, of the end."""
        top_n = len(nodes) if self.top_n is None else self.top_n
        found: list[NodeWithScore] = []
        dispatcher.event(
            ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=self.model)
        )
        try:
            with self.callback_manager.event(
                CBEventType.RERANKING,
                payload={
                    EventPayload.NODES: nodes,
                    EventPayload.MODEL_NAME: self.model,
                    EventPayload.QUERY_STR: query,
                    EventPayload.TOP_K: top_n,
                },
            ) as event:
                yield found
                event.on_end(payload={EventPayload.NODES: found})
        finally:
            dispatcher.event(ReRankEndEvent(nodes=found))

    def _texts(self, nodes: Sequence[NodeWithScore]) -> list[str]:
        return [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]

    def _scored(
        self, nodes: Sequence[NodeWithScore], ranking: Sequence[RankedDocument]
    ) -> list[NodeWithScore]:
        return [
            NodeWithScore(
                node=self._kept(nodes[ranked.index]),
                score=ranked.score if self.score == "probability" else ranked.logit,
            )
            for ranked in ranking
        ]

    def _kept(self, node: NodeWithScore) -> BaseNode:
        if not self.keep_retrieval_score:
            return node.node
        return with_metadata(node.node, RETRIEVAL_SCORE, node.score)


def _query(bundle: QueryBundle | None) -> str:
    if bundle is None:
        raise InputError(
            "Reranking needs the query. Give `query_str` or `query_bundle` to `postprocess_nodes`; "
            "query engines do."
        )
    return bundle.query_str
