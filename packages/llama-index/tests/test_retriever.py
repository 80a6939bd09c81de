"""`Qwen3HybridRetriever` over a real searcher: hits become the nodes that were stored."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import LongContextReorder, SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    Document as LlamaDocument,
)
from llama_index.core.schema import (
    IndexNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from qdrant_client import QdrantClient, models

from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.retrievers.qwen3_rag import Qwen3HybridRetriever, RankedNode
from qwen3_rag import InputError, InputTypeError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking

DOCUMENTS = [
    Document("france", "Paris is the capital\nof France. Café!", {"path": "europe.md", "n": 1}),
    Document("error", "E_4711 means that the disk is full.", {"path": "errors.md"}),
    Document(7, "Bread is made of flour.", {"path": "kitchen.md", "tags": ["a", "b"]}),
]


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """LlamaIndex's blocking methods take the thread's event loop, or leave a new one open."""
    with asyncio.Runner() as runner:
        runner.get_loop()
        yield


@pytest.fixture
def searcher() -> Iterator[HybridSearcher]:
    client = QdrantClient(":memory:")
    embedder = Qwen3Embedder("text", backend=TextBackend("embedding"))
    reranker = Qwen3Reranker("hash", backend=DeterministicBackend("reranking"))
    searcher = HybridSearcher(QdrantStore(client, "documents"), embedder, reranker)
    searcher.create()
    searcher.add(DOCUMENTS)
    yield searcher
    searcher.close()
    embedder.close()
    client.close()


def test_nodes_are_the_searcher_s_hits(searcher: HybridSearcher) -> None:
    hits = searcher.search("capital of France")

    found = Qwen3HybridRetriever(searcher).retrieve("capital of France")

    assert [node.node_id for node in found] == [str(hit.id) for hit in hits]
    assert [node.score for node in found] == [hit.score for hit in hits]
    assert [node.text for node in found] == [hit.text for hit in hits]
    for node, hit in zip(found, hits, strict=True):
        assert type(node.score) is float
        assert isinstance(node, RankedNode)
        assert node.metadata == hit.payload
        assert node.ranks == hit.ranks
        assert {"dense", "fused", "rerank"} <= set(node.ranks)


def test_async_gives_the_same(searcher: HybridSearcher) -> None:
    retriever = Qwen3HybridRetriever(searcher)

    assert asyncio.run(retriever.aretrieve("disk")) == retriever.retrieve("disk")


def test_the_event_loop_keeps_ticking() -> None:
    client = QdrantClient(":memory:")
    embedder = Qwen3Embedder("slow", backend=SlowBackend())
    with HybridSearcher(QdrantStore(client, "documents"), embedder) as searcher:
        searcher.create()
        searcher.add(DOCUMENTS)
        retriever = Qwen3HybridRetriever(searcher)

        assert len(asyncio.run(keeps_ticking(retriever.aretrieve("disk")))) == len(DOCUMENTS)
    embedder.close()
    client.close()


def test_a_retriever_is_for_a_tenant(searcher: HybridSearcher) -> None:
    store = QdrantStore(QdrantClient(":memory:"), "tenants")
    shared = HybridSearcher(store, searcher.embedder)
    shared.create(tenants=True)
    shared.add(DOCUMENTS[:1], tenant="acme")
    shared.add(DOCUMENTS[1:], tenant="globex")
    retriever = Qwen3HybridRetriever(shared, tenant="acme")

    assert [node.node_id for node in retriever.retrieve("disk")] == ["france"]
    assert [node.node_id for node in asyncio.run(retriever.aretrieve("disk"))] == ["france"]


def test_limit_offset_filter_and_instruction_reach_the_searcher(searcher: HybridSearcher) -> None:
    only = models.Filter(
        must=[models.FieldCondition(key="path", match=models.MatchValue(value="errors.md"))]
    )
    everything = Qwen3HybridRetriever(searcher).retrieve("France")

    assert Qwen3HybridRetriever(searcher, similarity_top_k=1).retrieve("France") == everything[:1]
    assert Qwen3HybridRetriever(searcher, offset=1).retrieve("France") == everything[1:]
    [filtered] = Qwen3HybridRetriever(searcher, filter=only).retrieve("France")
    assert filtered.node_id == "error"
    one = Qwen3HybridRetriever(searcher, ids=["error"]).retrieve("France")
    assert [node.node_id for node in one] == ["error"]
    code = Qwen3HybridRetriever(searcher, instruction="Find code").retrieve("France")
    expected = searcher.search("France", instruction="Find code")
    assert [node.score for node in code] == [hit.score for hit in expected]
    assert [node.score for node in code] != [node.score for node in everything]


def test_a_node_is_the_same_whatever_was_asked(searcher: HybridSearcher) -> None:
    retriever = Qwen3HybridRetriever(searcher)
    first, second = (
        {node.node_id: node for node in retriever.retrieve(query)}
        for query in ("capital of France", "the disk is full")
    )

    assert first.keys() == second.keys()
    for name, node in first.items():
        assert node.node == second[name].node
        assert node.node.hash == second[name].node.hash
        assert node != second[name]  # which differ in score and ranks


def test_results_go_through_postprocessors_and_synthesizers(searcher: HybridSearcher) -> None:
    long_context = LongContextReorder()
    engine = RetrieverQueryEngine.from_args(
        Qwen3HybridRetriever(searcher),
        llm=MockLLM(),
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.0), long_context],
    )

    answer = engine.query("capital of France")

    assert len(answer.source_nodes) == len(DOCUMENTS)
    assert all(isinstance(node, RankedNode) and node.ranks for node in answer.source_nodes)
    assert all(document.text in str(answer) for document in DOCUMENTS)


def test_a_stored_node_comes_back_as_it_was(searcher: HybridSearcher) -> None:
    source = LlamaDocument(text="whole", id_="source")
    stored = TextNode(
        id_="node",
        text="the quick brown fox\njumps",
        metadata={"path": "fox.md"},
        excluded_llm_metadata_keys=["path"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source.node_id)},
    )
    bare = TextNode(id_="bare", text="the lazy dog sleeps", metadata={"path": "dog.md"})
    index = IndexNode(id_="index", text="the index of animals", index_id="animals")
    searcher.add(
        [
            Document(
                node.node_id,
                node.get_content(metadata_mode=MetadataMode.EMBED),
                node_to_metadata_dict(node, remove_text=remove),
            )
            for node, remove in ((stored, False), (bare, True), (index, False))
        ]
    )
    found = {
        node.node_id: node.node
        for query in ("quick brown fox", "lazy dog", "index of animals")
        for node in Qwen3HybridRetriever(searcher).retrieve(query)
    }

    fox = found["node"]
    assert isinstance(fox, TextNode)
    assert fox.text == stored.text
    assert fox.ref_doc_id == "source"
    assert fox.metadata == {"path": "fox.md"}
    assert fox.get_content(MetadataMode.LLM) == stored.text
    assert fox.get_content(MetadataMode.EMBED) == stored.get_content(MetadataMode.EMBED)
    # Stored without its text, a node gets the text that was searched.
    assert found["bare"].get_content() == bare.get_content(MetadataMode.EMBED)
    assert isinstance(found["index"], IndexNode)


def test_nothing_found_is_no_nodes(searcher: HybridSearcher) -> None:
    nowhere = models.Filter(
        must=[models.FieldCondition(key="path", match=models.MatchValue(value="none"))]
    )

    assert Qwen3HybridRetriever(searcher, filter=nowhere).retrieve("France") == []


def test_a_query_engine_over_it_reranks_and_answers(searcher: HybridSearcher) -> None:
    engine = RetrieverQueryEngine.from_args(
        Qwen3HybridRetriever(searcher, similarity_top_k=3),
        llm=MockLLM(),
        node_postprocessors=[Qwen3Rerank(model="tiny", top_n=1)],
    )

    answer = engine.query("What is the capital of France?")

    assert "Paris is the capital\nof France. Café!" in str(answer)
    assert "E_4711" not in str(answer)


def test_it_refuses_to_be_pickled_or_copied(searcher: HybridSearcher) -> None:
    retriever = Qwen3HybridRetriever(searcher)

    with pytest.raises(InputTypeError, match="holds a searcher with an open store"):
        pickle.dumps(retriever)
    with pytest.raises(TypeError, match="Make one of its own"):
        copy.deepcopy(retriever)


def test_wrong_arguments_are_refused(searcher: HybridSearcher) -> None:
    with pytest.raises(InputTypeError, match=r"must have `search` and `asearch`.* got str"):
        Qwen3HybridRetriever("documents")  # type: ignore[arg-type]  # that is the point
    nothing: Any = None
    with pytest.raises(InputError, match="`similarity_top_k` must be a whole number, got None"):
        Qwen3HybridRetriever(searcher, similarity_top_k=nothing)
    with pytest.raises(InputError, match="`offset` must be a whole number, got None"):
        Qwen3HybridRetriever(searcher, offset=nothing)
    with pytest.raises(InputError, match="`similarity_top_k` must be at least 1"):
        Qwen3HybridRetriever(searcher, similarity_top_k=0)
    with pytest.raises(InputError, match="`offset` must be at least 0"):
        Qwen3HybridRetriever(searcher, offset=-1)
    with pytest.raises(InputError, match="`instruction` is empty"):
        Qwen3HybridRetriever(searcher, instruction=" ")
