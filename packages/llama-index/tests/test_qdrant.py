"""`QdrantBM25` inside LlamaIndex's own `QdrantVectorStore`, in the client's local mode."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import BaseNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import VectorStoreQueryResult
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.retrievers.qwen3_rag import QdrantBM25
from qwen3_rag import InputError, Qwen3Embedder
from qwen3_rag.fusion import DEFAULT_FUSION, Fused, fuse
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_testkit.backends import DeterministicBackend

TEXTS = {
    "france": "Paris is the capital of France.",
    "disk": "Error E_4711 means that the disk is full.",
    "memory": "Error E_4712 means that memory ran out.",
    "network": "Error E_4720 means that the server is gone.",
    "bread": "Bread is made of flour.",
    "none": "!?",
}
IDS = {name: f"00000000-0000-0000-0000-{i:012}" for i, name in enumerate(TEXTS)}
NAMES = {id_: name for name, id_ in IDS.items()}


def embedder() -> Qwen3Embedder:
    return Qwen3Embedder("hash", backend=DeterministicBackend())


def make_index(store: QdrantVectorStore, **settings: Any) -> VectorStoreIndex:
    nodes: list[BaseNode] = [TextNode(id_=IDS[name], text=text) for name, text in TEXTS.items()]
    return VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=Qwen3Embedding.from_embedder(embedder()),
        **settings,
    )


def hybrid(index: VectorStoreIndex, query: str, **settings: Any) -> list[NodeWithScore]:
    settings = {"similarity_top_k": 10, "sparse_top_k": 10, "hybrid_top_k": 10, **settings}
    return index.as_retriever(vector_store_query_mode="hybrid", **settings).retrieve(query)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


# `index_doc_id=False` in all of these: local mode warns that it has no payload indexes.
@pytest.fixture
def queries() -> list[list[Fused]]:
    """What the hybrid queries of a test found, as `on_fused` hears it."""
    return []


@pytest.fixture
def index(client: QdrantClient, queries: list[list[Fused]]) -> VectorStoreIndex:
    arguments = QdrantBM25(on_fused=queries.append).arguments()
    return make_index(QdrantVectorStore("docs", client, index_doc_id=False, **arguments))


def test_the_collection_counts_rare_words_more(
    index: VectorStoreIndex, client: QdrantClient
) -> None:
    sparse = client.get_collection("docs").config.params.sparse_vectors

    assert sparse is not None
    assert [vector.modifier for vector in sparse.values()] == [models.Modifier.IDF]


def test_a_hybrid_query_finds_what_words_alone_can_tell(
    index: VectorStoreIndex, queries: list[list[Fused]]
) -> None:
    # The vectors are hashes, so only words find anything; each question names its page.
    for query, name in {"E_4711": "disk", "E_4720": "network", "flour": "bread"}.items():
        best = hybrid(index, query, alpha=0)[0]
        assert NAMES[best.node_id] == name
        assert queries[-1][0].id == best.node_id
        assert queries[-1][0].ranks["bm25"].rank == 1


def test_hybrid_order_scores_and_ranks_are_the_core_s_fusion(
    index: VectorStoreIndex, queries: list[list[Fused]]
) -> None:
    query = "What does error E_4711 mean?"
    found = hybrid(index, query)

    client = QdrantClient(":memory:")
    searcher = HybridSearcher(QdrantStore(client, "docs"), embedder())
    searcher.create()
    searcher.add([Document(IDS[name], text) for name, text in TEXTS.items()])
    hits = searcher.search(query)

    assert [node.node_id for node in found] == [hit.id for hit in hits]
    # Both compute in single precision, and the range of a list becomes 1.
    assert [node.score for node in found] == pytest.approx([hit.score for hit in hits], abs=1e-3)
    [fused] = queries
    for left, right in zip(fused, hits, strict=True):
        assert left.id == right.id
        assert {name: score.rank for name, score in left.ranks.items()} == {
            name: score.rank for name, score in right.ranks.items() if name != "fused"
        }
    searcher.close()
    client.close()


def test_a_node_is_the_one_that_was_stored(index: VectorStoreIndex) -> None:
    [best] = hybrid(index, "flour", hybrid_top_k=1, alpha=0)

    assert best.metadata == {}
    assert best.node.hash == TextNode(text=TEXTS["bread"]).hash


def test_a_query_or_a_text_without_words_is_no_error(
    index: VectorStoreIndex, queries: list[list[Fused]]
) -> None:
    assert len(hybrid(index, "?!")) == len(TEXTS)
    assert [[*fused.ranks] for fused in queries[-1]] == [["dense"]] * len(TEXTS)


def test_sparse_and_default_queries_work_too(index: VectorStoreIndex) -> None:
    [best] = index.as_retriever(vector_store_query_mode="sparse", sparse_top_k=1).retrieve("E_4712")
    assert NAMES[best.node_id] == "memory"

    assert len(index.as_retriever(similarity_top_k=3).retrieve("E_4712")) == 3


def test_async_hybrid_queries_give_the_same(index: VectorStoreIndex) -> None:
    expected = hybrid(index, "What does error E_4711 mean?")

    async def found() -> list[NodeWithScore]:
        client = AsyncQdrantClient(":memory:")
        arguments = QdrantBM25().arguments()
        store = QdrantVectorStore("docs", aclient=client, index_doc_id=False, **arguments)
        index = VectorStoreIndex.from_vector_store(
            store, embed_model=Qwen3Embedding.from_embedder(embedder())
        )
        await index.ainsert_nodes([TextNode(id_=IDS[n], text=text) for n, text in TEXTS.items()])
        retriever = index.as_retriever(
            vector_store_query_mode="hybrid",
            similarity_top_k=10,
            sparse_top_k=10,
            hybrid_top_k=10,
        )
        nodes = await retriever.aretrieve("What does error E_4711 mean?")
        await client.close()
        return nodes

    nodes = asyncio.run(found())
    assert [node.node_id for node in nodes] == [node.node_id for node in expected]
    assert [node.score for node in nodes] == pytest.approx([node.score for node in expected])


def test_vectors_are_the_encoder_s() -> None:
    encoder = BM25Encoder(b=0.1, avg_len=20)
    bm25 = QdrantBM25(encoder=encoder)

    indices, values = bm25.sparse_doc_fn(["a b b", "", "café\nnaïve"])
    assert len(indices) == len(values) == 3
    assert (
        dict(zip(indices[0], values[0], strict=True)) == encoder.encode_document("a b b").as_dict()
    )
    assert (indices[1], values[1]) == ([], [])
    assert all(type(value) is float for value in values[2])
    assert all(type(place) is int for place in indices[2])
    assert bm25.sparse_query_fn(["b b"])[1] == [encoder.encode_query("b b").values.tolist()]
    assert bm25.sparse_doc_fn([]) == ([], [])


def result(scores: dict[str, float] | None) -> VectorStoreQueryResult:
    if scores is None:
        return VectorStoreQueryResult(nodes=None, similarities=None, ids=None)
    nodes = [TextNode(id_=name, text=name) for name in scores]
    return VectorStoreQueryResult(nodes=nodes, similarities=[*scores.values()], ids=[*scores])


DENSE = {"a": 0.9, "b": 0.8, "c": 0.1}
SPARSE = {"c": 7.0, "d": 7.0}


@pytest.mark.parametrize(
    "settings", [{}, {"fusion": "relative_score"}, {"fusion": "rrf"}, {"fusion": "rrf", "k": 10}]
)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_fusion_is_the_core_s(settings: dict[str, Any], alpha: float) -> None:
    lists = {"dense": [*DENSE.items()], "bm25": [*SPARSE.items()]}
    weights = {"dense": 2 * alpha, "bm25": 2 - 2 * alpha}
    method = settings.get("fusion", DEFAULT_FUSION)
    expected = fuse(lists, method, k=settings.get("k", 60), weights=weights)

    fused = QdrantBM25(**settings).hybrid_fusion_fn(
        result(DENSE), result(SPARSE), alpha=alpha, top_k=3
    )

    assert fused.ids == [hit.id for hit in expected[:3]]
    assert fused.similarities == [hit.score for hit in expected[:3]]
    assert [node.node_id for node in fused.nodes or []] == fused.ids


@pytest.mark.parametrize(
    ("dense", "sparse", "ids"),
    [(None, None, []), (DENSE, None, ["a", "b", "c"]), (None, SPARSE, ["c", "d"]), ({}, {}, [])],
)
def test_fusion_of_empty_results(dense: Any, sparse: Any, ids: list[str]) -> None:
    fused = QdrantBM25().hybrid_fusion_fn(result(dense), result(sparse), top_k=10)

    assert fused.ids == ids


def test_fusion_changes_nothing_it_was_given() -> None:
    dense, sparse = result(DENSE), result(SPARSE)
    before = copy.deepcopy((dense, sparse))

    QdrantBM25().hybrid_fusion_fn(dense, sparse, alpha=0.5, top_k=2)

    assert (dense, sparse) == before


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="`method` must be one of"):
        QdrantBM25(fusion="borda")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InputError, match="`k` must be zero or more"):
        QdrantBM25(k=-1)
    with pytest.raises(InputError, match="Choose 'rrf' as the fusion"):
        QdrantBM25(k=10)
    with pytest.raises(InputError, match="`alpha` must be from 0"):
        QdrantBM25().hybrid_fusion_fn(result(DENSE), result(SPARSE), alpha=2)


def test_it_is_a_plain_value() -> None:
    bm25 = QdrantBM25(fusion="rrf", k=10)

    assert pickle.loads(pickle.dumps(bm25)) == copy.deepcopy(bm25) == bm25
    assert pickle.loads(pickle.dumps(bm25.sparse_doc_fn))(["a"]) == bm25.sparse_doc_fn(["a"])
