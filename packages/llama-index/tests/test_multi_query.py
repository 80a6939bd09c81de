"""Several phrasings of one question, fused by LlamaIndex's `QueryFusionRetriever`.

It recognises equal nodes by `node.hash`, which covers their metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from statistics import mean, pstdev

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.retrievers.qwen3_rag import QdrantBM25, Qwen3HybridRetriever
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend

TEXTS = [
    "Paris is the capital of France.",
    "Error E_4711 means that the disk is full.",
    "Bread is made of flour.",
]
IDS = [f"00000000-0000-0000-0000-{i:012}" for i in range(len(TEXTS))]

PHRASINGS = ["capital of France", "which city governs France", "what is full on the disk"]

MODES = pytest.mark.parametrize("mode", FUSION_MODES)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def over_searcher(client: QdrantClient) -> Iterator[BaseRetriever]:
    embedder = Qwen3Embedder("text", backend=TextBackend())
    reranker = Qwen3Reranker("hash", backend=DeterministicBackend())
    with HybridSearcher(QdrantStore(client, "documents"), embedder, reranker) as searcher:
        searcher.create()
        searcher.add([Document(*pair, {"path": "a.md"}) for pair in zip(IDS, TEXTS, strict=True)])
        yield Qwen3HybridRetriever(searcher)
    embedder.close()


@pytest.fixture
def over_index(client: QdrantClient) -> BaseRetriever:
    # Without `index_doc_id` since local mode warns that it has no payload indexes.
    store = QdrantVectorStore("docs", client, index_doc_id=False, **QdrantBM25().arguments())
    nodes: list[BaseNode] = [
        TextNode(id_=name, text=text, metadata={"path": "a.md"})
        for name, text in zip(IDS, TEXTS, strict=True)
    ]
    index = VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=Qwen3Embedding(model_name="text", backend=TextBackend()),
    )
    return index.as_retriever(
        vector_store_query_mode="hybrid", similarity_top_k=3, sparse_top_k=3, hybrid_top_k=3
    )


class Reranked(BaseRetriever):
    """A retriever with the reranker behind it."""

    def __init__(self, retriever: BaseRetriever) -> None:
        self.retriever = retriever
        self.rerank = Qwen3Rerank(
            model="hash", backend=DeterministicBackend(), keep_retrieval_score=True
        )
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self.retriever.retrieve(query_bundle)
        return self.rerank.postprocess_nodes(found, query_bundle)


def over_phrasings(retriever: BaseRetriever, mode: FUSION_MODES) -> QueryFusionRetriever:
    return QueryFusionRetriever(
        [retriever],
        llm=MockLLM(),  # answers with its prompt
        query_gen_prompt="\n".join(PHRASINGS[1:]),
        mode=mode,
        num_queries=len(PHRASINGS),
        similarity_top_k=100,
        use_async=False,
    )


def fused(retriever: BaseRetriever, mode: FUSION_MODES) -> dict[str, float]:
    """What each mode makes of the scores, by the nodes' ids."""
    values: dict[str, list[float]] = {}
    for phrasing in PHRASINGS:
        found = retriever.retrieve(phrasing)
        scores = [node.get_score() for node in found]
        low, high = min(scores), max(scores)
        if mode is FUSION_MODES.DIST_BASED_SCORE:
            low, high = (mean(scores) + side * 3 * pstdev(scores) for side in (-1, 1))
        for rank, node in enumerate(found):
            value = (node.get_score() - low) / (high - low) / len(PHRASINGS)
            if mode is FUSION_MODES.RECIPROCAL_RANK:
                value = 1 / (rank + 60)
            elif mode is FUSION_MODES.SIMPLE:
                value = node.get_score()
            values.setdefault(node.node_id, []).append(value)
    combine = max if mode is FUSION_MODES.SIMPLE else sum
    return {name: combine(several) for name, several in values.items()}


def check(retriever: BaseRetriever, mode: FUSION_MODES) -> list[NodeWithScore]:
    """Fuse, and make sure that each node is there once, with the scores of all phrasings."""
    fusion = over_phrasings(retriever, mode)

    found = fusion.retrieve(PHRASINGS[0])

    assert sorted(node.node_id for node in found) == IDS
    assert {node.node_id: node.score for node in found} == pytest.approx(fused(retriever, mode))
    return found


@MODES
def test_over_a_searcher(over_searcher: BaseRetriever, mode: FUSION_MODES) -> None:
    found = check(over_searcher, mode)

    assert asyncio.run(over_phrasings(over_searcher, mode).aretrieve(PHRASINGS[0])) == found


@MODES
def test_over_a_hybrid_index(over_index: BaseRetriever, mode: FUSION_MODES) -> None:
    check(over_index, mode)


@MODES
def test_over_a_searcher_and_the_reranker(over_searcher: BaseRetriever, mode: FUSION_MODES) -> None:
    check(Reranked(over_searcher), mode)


@MODES
def test_over_a_hybrid_index_and_the_reranker(
    over_index: BaseRetriever, mode: FUSION_MODES
) -> None:
    check(Reranked(over_index), mode)
