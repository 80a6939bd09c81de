"""`Qwen3Rerank`: the core's reranker as LlamaIndex's node postprocessor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack, cast

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # LlamaIndex re-exports it implicitly
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field, field_validator

from llama_index.embeddings.qwen3_rag.component import ModelName, ModelOptions, Qwen3Component
from llama_index.embeddings.qwen3_rag.nodes import RankedNode
from qwen3_rag import InputError, Qwen3Reranker, RankedDocument, RankScore
from qwen3_rag.integration import ModelBase, check_min_score

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager

__all__ = ["Qwen3Rerank"]

dispatcher = get_dispatcher(__name__)


class Qwen3Rerank(Qwen3Component, BaseNodePostprocessor):
    """Orders nodes by how well they answer the query, with a Qwen3-Reranker model.

    The score becomes the probability that a node answers the query, 0 to 1. Input nodes are not
    changed; results are `RankedNode`s, with earlier ranks of a node and its rank here. Cheap to
    create, copy and pickle: the model is loaded at first use or by `warm_up()`, once per process.
    The fields are LlamaIndex's `top_n`, `keep_retrieval_score` and `metadata_mode`, and the
    arguments of `qwen3_rag.Qwen3Reranker`.

    Example:
        ```python
        engine = index.as_query_engine(
            similarity_top_k=50, node_postprocessors=[Qwen3Rerank(top_n=5)]
        )
        ```

    Raises:
        ValidationError: A field has the wrong type, or does not exist.
        InputError: A value is out of range.
    """

    model_class: ClassVar[type[ModelBase]] = Qwen3Reranker
    model_field: ClassVar[str] = "model"
    own_arguments: ClassVar[tuple[str, ...]] = (
        "instruction",
        "max_length",
        "max_query_tokens",
        "max_document_tokens",
    )

    model: ModelName = Field(
        default="Qwen/Qwen3-Reranker-0.6B",
        description="A Hugging Face id, a `modelscope:` id, `tiny`, or a checkpoint folder.",
    )
    top_n: int | None = Field(default=5, ge=1, description="Nodes to return; all when None.")
    min_score: float | None = Field(
        default=None, description="Leave out nodes with a lower score, as `score` selects it."
    )
    max_query_tokens: int | None = Field(default=None, description="Cut longer queries.")
    max_document_tokens: int | None = Field(default=None, description="Cut longer nodes.")
    score: Literal["probability", "logit"] = Field(
        default="probability",
        description="Whether scores are probabilities, 0 to 1, or log-odds, which do not saturate.",
    )
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, description="Which metadata of a node the model reads."
    )
    keep_retrieval_score: bool = Field(
        default=False,
        description="Whether `ranks['retrieval']` keeps a node's rank and score before reranking.",
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: str | os.PathLike[str] = ...,
            top_n: int | None = 5,
            min_score: float | None = None,
            instruction: str | None = None,
            max_length: int | None = None,
            max_query_tokens: int | None = None,
            max_document_tokens: int | None = None,
            score: Literal["probability", "logit"] = "probability",
            metadata_mode: MetadataMode | Literal["all", "embed", "llm", "none"] = ...,
            keep_retrieval_score: bool = False,
            callback_manager: CallbackManager | None = None,
            **options: Unpack[ModelOptions],
        ) -> None: ...

    @field_validator("min_score")
    @classmethod
    def _check_min_score(cls, min_score: float | None) -> float | None:
        check_min_score(min_score)
        return min_score

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores the class."""
        return "Qwen3Rerank"

    @classmethod
    def from_reranker(cls, reranker: Qwen3Reranker, **fields: Any) -> Self:
        """Make an adapter with a core reranker's arguments; it shares the reranker's weights.

        Closing the reranker is up to you. An adapter made from `Qwen3Reranker.from_model`, for
        example with a quantised model, cannot be pickled.

        Args:
            reranker: The core's reranker.
            **fields: Further fields, such as `top_n` and `keep_retrieval_score`.

        Raises:
            BackendError: The reranker was closed.
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
        """Notify both event systems of the start, and always of the end."""
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
        found: list[NodeWithScore] = []
        for rank, ranked in enumerate(ranking, 1):
            given = nodes[ranked.index]
            score = ranked.score if self.score == "probability" else ranked.logit
            if self.min_score is not None and score < self.min_score:
                break  # as the ranking is best first
            ranks = dict(given.ranks) if isinstance(given, RankedNode) else {}
            if self.keep_retrieval_score and given.score is not None:
                ranks["retrieval"] = RankScore(ranked.index + 1, given.score)
            ranks["rerank"] = RankScore(rank, score)
            found.append(RankedNode(node=given.node, score=score, ranks=ranks))
        return found


def _query(bundle: QueryBundle | None) -> str:
    if bundle is None:
        raise InputError(
            "Reranking needs the query. Give `query_str` or `query_bundle` to `postprocess_nodes`; "
            "query engines do."
        )
    return bundle.query_str
