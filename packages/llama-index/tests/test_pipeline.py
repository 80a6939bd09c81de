"""Whole pipelines of LlamaIndex with the small pair: indexing, workers, caches, answers, scores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, QueryBundle, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode
from llama_index.llms.openai_like import OpenAILike
from pydantic import SecretStr

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from qwen3_rag import BackendError, Qwen3Embedder
from qwen3_rag.integration import resolve_checkpoint
from qwen3_rag_testkit.backends import CountingBackend, DeterministicBackend
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint

# A page of each kind of manual, and a question that it alone answers.
PAGES = {
    "france": (
        "Paris has been the capital of France since the tenth century.\nThe Seine runs through it.",
        "Which city is the capital of France?",
    ),
    "spain": (
        "Madrid is the capital of Spain and lies on the river Manzanares.",
        "What river flows through the capital of Spain?",
    ),
    "disk": (
        "Error E_4711 means that the disk is full. Delete old snapshots and start again.",
        "What does E_4711 mean?",
    ),
    "memory": (
        "Error E_4712 means that memory ran out. Lower the batch size and start again.",
        "How do I get rid of E_4712?",
    ),
    "network": (
        "Error E_4720 means that the server did not answer in time. Check the network.",
        "Why do I see E_4720?",
    ),
    "token": (
        "Error E_4731 means that the access token has expired. Ask for a new one.",
        "My log says E_4731, what now?",
    ),
    "bread": (
        "Bread is baked from flour, water, salt and yeast at 220 degrees.",
        "At which temperature is bread baked?",
    ),
    "pizza": (
        "Pizza dough rests for a day and is baked at 300 degrees for five minutes.",
        "How long does pizza dough rest?",
    ),
    "moon": (
        "The Moon circles the Earth once in 27 days and always shows it the same side.",
        "How long does the Moon take around the Earth?",
    ),
    "mars": (
        "Mars circles the Sun once in 687 days and has two moons, Phobos and Deimos.",
        "Which moons does Mars have?",
    ),
    "backup": (
        "A backup is written every night at two and kept for thirty days.",
        "How long are backups kept?",
    ),
    "restore": (
        "To restore a backup, stop the service, run restore and start it again.",
        "How do I restore a backup?",
    ),
}


def documents() -> list[Document]:
    return [
        Document(id_=name, text=text, metadata={"name": name}) for name, (text, _) in PAGES.items()
    ]


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """LlamaIndex's blocking methods take the thread's event loop, or leave a new one open."""
    with asyncio.Runner() as runner:
        runner.get_loop()
        yield


@pytest.fixture(scope="module")
def model() -> Iterator[Qwen3Embedding]:
    with Qwen3Embedding(model_name="tiny") as model:
        yield model


@pytest.fixture(scope="module")
def rerank() -> Iterator[Qwen3Rerank]:
    with Qwen3Rerank(model="tiny", top_n=1, metadata_mode=MetadataMode.NONE) as rerank:
        yield rerank


@pytest.fixture(scope="module")
def index(model: Qwen3Embedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(documents(), embed_model=model)


def test_a_query_engine_hands_the_right_page_to_the_model(
    index: VectorStoreIndex, rerank: Qwen3Rerank
) -> None:
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=10, node_postprocessors=[rerank])

    answer = engine.query("What does E_4711 mean?")
    awaited = asyncio.run(engine.aquery("What does E_4711 mean?"))

    assert PAGES["disk"][0] in str(answer)
    assert PAGES["memory"][0] not in str(answer)
    assert str(awaited) == str(answer)
    [source] = answer.source_nodes
    assert (source.node.ref_doc_id, source.metadata["name"]) == ("disk", "disk")
    assert 0 < source.get_score() < 1


@pytest.mark.parametrize("streaming", [False, True])
def test_an_openai_compatible_model_gets_the_right_page(
    index: VectorStoreIndex, rerank: Qwen3Rerank, streaming: bool
) -> None:
    with ChatEndpoint() as endpoint:
        llm = OpenAILike(model="qwen3", api_base=endpoint.url, api_key="none", is_chat_model=True)
        engine = index.as_query_engine(
            llm=llm, similarity_top_k=10, node_postprocessors=[rerank], streaming=streaming
        )

        answer = str(engine.query(PAGES["france"][1]))

    [request] = endpoint.requests
    assert PAGES["france"][0] in request["messages"][-1]["content"]
    assert PAGES["france"][0] in answer


def run(pipeline: IngestionPipeline, how: str, **settings: Any) -> list[BaseNode]:
    if how == "sync":
        return list(pipeline.run(documents=documents(), **settings))
    return list(asyncio.run(pipeline.arun(documents=documents(), **settings)))


# LlamaIndex's `arun` forks workers, which Python 3.12 and later warn of in a process with threads.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("how", ["sync", "async"])
def test_workers_and_caches_give_the_same_vectors(
    model: Qwen3Embedding, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker would fetch the splitter's tokenizer, which lies in LlamaIndex's own folder.
    tokenizers = files("llama_index.core") / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tokenizers))
    splitter = SentenceSplitter(chunk_size=128, chunk_overlap=0)
    alone = IngestionPipeline(transformations=[splitter, model], disable_cache=True)
    expected = [(node.get_content(), node.embedding) for node in run(alone, "sync")]
    shared = IngestionPipeline(transformations=[splitter, model], cache=IngestionCache())

    first = run(shared, how, num_workers=2)
    again = run(shared, how, num_workers=2)

    for nodes in (first, again):
        assert [node.get_content() for node in nodes] == [text for text, _ in expected]
        for node, (_, vector) in zip(nodes, expected, strict=True):
            assert node.embedding == pytest.approx(vector, abs=1e-5)


def test_a_cached_run_asks_no_model() -> None:
    backend = CountingBackend("cached run")
    cache, model = IngestionCache(), Qwen3Embedding(model_name="mine", backend=backend)
    expected = run(IngestionPipeline(transformations=[model], cache=cache), "sync")
    opened = backend.uses.opens
    again = Qwen3Embedding(model_name="mine", backend=backend)

    found = run(IngestionPipeline(transformations=[again], cache=cache), "sync")

    assert [node.embedding for node in found] == [node.embedding for node in expected]
    assert backend.uses.opens == opened > 0


@pytest.mark.parametrize(
    "change",
    [
        {"instruction": "Find code"},
        {"dim": 64},
        {"revision": "v2"},
        {"max_length": 128},
        {"dtype": "bfloat16"},
        {"model_name": "Qwen/Qwen3-Embedding-0.6B"},
        {"model_kwargs": {"use_cache": False}},
    ],
)
def test_another_setting_is_another_cache_key(change: dict[str, Any]) -> None:
    nodes = [TextNode(text="a")]
    model = Qwen3Embedding(model_name="tiny")

    key = get_transformation_hash(nodes, model)

    assert get_transformation_hash(nodes, Qwen3Embedding(model_name="tiny")) == key
    assert (
        get_transformation_hash(nodes, Qwen3Embedding(model_name="tiny", token=SecretStr("x")))
        == key
    )
    assert get_transformation_hash(nodes, model.model_copy(update=change)) != key


def test_another_backend_is_another_cache_key() -> None:
    def key(dim: int) -> str:
        model = Qwen3Embedding(model_name="mine", backend=DeterministicBackend(dim=dim))
        return get_transformation_hash([TextNode(text="a")], model)

    assert key(64) == key(64)
    assert key(64) != key(128)


def loaded(scale: float = 1) -> Qwen3Embedding:
    """An adapter around a transformers model that was loaded here."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = resolve_checkpoint("tiny", "embedding").folder
    weights = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        weights.norm.weight *= scale
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Qwen3Embedding.from_embedder(Qwen3Embedder.from_model(weights, tokenizer))


def test_the_cache_keeps_loaded_models_apart() -> None:
    pages = [TextNode(text="a")]

    keys = [get_transformation_hash(pages, model) for model in (loaded(), loaded(), loaded(-1))]

    assert keys[0] == keys[1] != keys[2]


def test_workers_say_why_a_loaded_model_cannot_be_sent() -> None:
    pipeline = IngestionPipeline(transformations=[loaded()])

    assert len(pipeline.run(documents=documents())) == len(PAGES)
    with pytest.raises(BackendError, match="cannot be sent to worker processes"):
        pipeline.run(documents=documents(), num_workers=2)


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").strip().split("\n")


class Shelf(BaseRetriever):
    """Gives all pages in the order they lie in, whatever is asked."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(id_=n, text=text)) for n, (text, _) in PAGES.items()]


def mean(
    metric: str, retriever: BaseRetriever, asked: dict[str, list[str]], *postprocessors: Qwen3Rerank
) -> float:
    evaluator = RetrieverEvaluator.from_metric_names(
        ["mrr", "ndcg"], retriever=retriever, node_postprocessors=[*postprocessors]
    )
    values = [
        evaluator.evaluate(question, expected).metric_vals_dict[metric]
        for question, expected in asked.items()
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("metric", ["mrr", "ndcg"])
def test_the_evaluator_sees_the_rerankers_order(metric: str) -> None:
    asked = {question: [name] for name, (_, question) in PAGES.items()}

    with Qwen3Rerank(model="tiny", top_n=10, metadata_mode=MetadataMode.NONE) as rerank:
        assert mean(metric, Shelf(), asked, rerank) > mean(metric, Shelf(), asked) + 0.3


def test_the_reranker_mends_what_short_vectors_find() -> None:
    corpus = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "xquad_en"
    if not corpus.is_dir():
        pytest.skip("the shared corpora are not beside the project")
    texts, queries = (
        {row["_id"]: row["text"] for row in map(json.loads, lines(corpus / name))}
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    relevant = [line.split("\t")[:2] for line in lines(corpus / "qrels.tsv")]
    asked = {queries[query]: [document] for query, document in relevant[1::90]}
    nodes = [TextNode(id_=name, text=text) for name, text in texts.items()]
    short = Qwen3Embedding(model_name="tiny", dim=32)
    retriever = VectorStoreIndex(nodes, embed_model=short).as_retriever(similarity_top_k=10)

    with Qwen3Rerank(model="tiny", top_n=10) as rerank:
        for metric in ("mrr", "ndcg"):
            better = mean(metric, retriever, asked, rerank)
            assert better > mean(metric, retriever, asked) + 0.05
