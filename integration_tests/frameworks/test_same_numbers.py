"""All adapters give the core's numbers: exactly with a test backend, within 1e-5 with `tiny`.

Options that make a framework add metadata to texts are off.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # before Haystack is first imported

import numpy as np
import pytest
from haystack import Document as HaystackDocument
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from haystack_integrations.components.embedders.qwen3_rag import (
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from langchain_qwen3_rag import Qwen3Embeddings
from langchain_qwen3_rag import Qwen3Rerank as LangChainRerank
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank as LlamaIndexRerank
from qwen3_rag import DEFAULT_INSTRUCTION, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import arguments_of
from qwen3_rag_testkit.backends import CountingBackend, DeterministicBackend
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking

QUERY = "what is the capital of France?"
INSTRUCTION = "Find the passage that answers"
Vectors = Callable[[Qwen3Embedder], Any]
Scores = Callable[[Qwen3Reranker], dict[str, float]]


class Models(NamedTuple):
    """The core's two model classes, and the tolerance of the comparison."""

    embedder: Qwen3Embedder
    reranker: Qwen3Reranker
    tolerance: float


@pytest.fixture(params=["deterministic", "tiny"], scope="module")
def models(request: pytest.FixtureRequest) -> Iterator[Models]:
    exact = request.param == "deterministic"
    backends = [
        DeterministicBackend(role) if exact else None for role in ("embedding", "reranking")
    ]
    embedder = Qwen3Embedder("tiny", instruction=INSTRUCTION, backend=backends[0])
    reranker = Qwen3Reranker("tiny", instruction=INSTRUCTION, backend=backends[1])
    with embedder, reranker:
        yield Models(embedder, reranker, 0.0 if exact else 1e-5)


# ------------------------------------------------------------------ one call per framework


def langchain_query(embedder: Qwen3Embedder) -> Any:
    return Qwen3Embeddings.from_embedder(embedder).embed_query(QUERY)


def llama_index_query(embedder: Qwen3Embedder) -> Any:
    return Qwen3Embedding.from_embedder(embedder).get_query_embedding(QUERY)


def haystack_query(embedder: Qwen3Embedder) -> Any:
    return Qwen3TextEmbedder.from_embedder(embedder).run(QUERY)["embedding"]


def langchain_documents(embedder: Qwen3Embedder) -> Any:
    return Qwen3Embeddings.from_embedder(embedder).embed_documents(list(TEXTS))


def llama_index_documents(embedder: Qwen3Embedder) -> Any:
    return Qwen3Embedding.from_embedder(embedder).get_text_embedding_batch(list(TEXTS))


def haystack_documents(embedder: Qwen3Embedder) -> Any:
    documents = [HaystackDocument(content=text) for text in TEXTS]
    embedded = Qwen3DocumentEmbedder.from_embedder(embedder, progress_bar=False).run(documents)
    return [document.embedding for document in embedded["documents"]]


def langchain_scores(reranker: Qwen3Reranker) -> dict[str, float]:
    documents = [LangChainDocument(page_content=text) for text in TEXTS]
    ranked = LangChainRerank.from_reranker(reranker).compress_documents(documents, QUERY)
    return {hit.page_content: hit.metadata["relevance_score"] for hit in ranked}


def llama_index_scores(reranker: Qwen3Reranker) -> dict[str, float]:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    rerank = LlamaIndexRerank.from_reranker(reranker, top_n=len(TEXTS))
    ranked = rerank.postprocess_nodes(nodes, query_str=QUERY)
    return {hit.node.get_content(MetadataMode.NONE): hit.get_score() for hit in ranked}


def haystack_scores(reranker: Qwen3Reranker) -> dict[str, float]:
    documents = [HaystackDocument(id=str(i), content=text) for i, text in enumerate(TEXTS)]
    ranked = Qwen3Ranker.from_reranker(reranker, top_k=len(TEXTS)).run(
        query=QUERY, documents=documents
    )
    return {hit.content: hit.score for hit in ranked["documents"]}


def same(left: Any, right: Any, tolerance: float) -> bool:
    return bool(np.allclose(np.asarray(left), np.asarray(right), rtol=0, atol=tolerance))


# ------------------------------------------------------------------ the same numbers


@pytest.mark.parametrize("embed", [langchain_query, llama_index_query, haystack_query])
def test_query_vectors_equal_the_core(models: Models, embed: Vectors) -> None:
    vector = embed(models.embedder)

    assert all(type(number) is float for number in vector)
    assert same(vector, models.embedder.embed_queries([QUERY])[0], models.tolerance)
    assert not same(vector, models.embedder.embed_documents([QUERY])[0], 1e-3)
    plain = {**arguments_of(models.embedder), "instruction": DEFAULT_INSTRUCTION}
    default = Qwen3Embedder(**plain).embed_queries([QUERY])[0]
    assert not same(vector, default, 1e-3), "the instruction was not used"


@pytest.mark.parametrize("embed", [langchain_documents, llama_index_documents, haystack_documents])
def test_document_vectors_equal_the_core(models: Models, embed: Vectors) -> None:
    assert same(embed(models.embedder), models.embedder.embed_documents(TEXTS), models.tolerance)


@pytest.mark.parametrize("rank", [langchain_scores, llama_index_scores, haystack_scores])
def test_scores_equal_the_core(models: Models, rank: Scores) -> None:
    scores = rank(models.reranker)

    expected = models.reranker.score([(QUERY, text) for text in TEXTS])
    assert scores.keys() == set(TEXTS)
    assert all(type(score) is float for score in scores.values())
    assert same([scores[text] for text in TEXTS], expected, models.tolerance)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


# ------------------------------------------------------------------ async


def adapters(embedder: Qwen3Embedder) -> dict[str, Callable[[], Any]]:
    texts = list(TEXTS)
    documents = [HaystackDocument(content=text) for text in texts]
    haystack = Qwen3DocumentEmbedder.from_embedder(embedder, progress_bar=False)
    return {
        "LangChain": lambda: Qwen3Embeddings.from_embedder(embedder).aembed_documents(texts),
        "LlamaIndex": lambda: Qwen3Embedding.from_embedder(embedder).aget_text_embedding_batch(
            texts
        ),
        "Haystack": lambda: haystack.run_async(documents),
    }


@pytest.mark.parametrize("framework", ["LangChain", "LlamaIndex", "Haystack"])
async def test_the_event_loop_keeps_ticking(framework: str) -> None:
    with Qwen3Embedder("slow", backend=SlowBackend()) as embedder:
        await keeps_ticking(adapters(embedder)[framework]())


def test_async_equals_sync(models: Models) -> None:
    embeddings = Qwen3Embeddings.from_embedder(models.embedder)
    embedding = Qwen3Embedding.from_embedder(models.embedder)
    text_embedder = Qwen3TextEmbedder.from_embedder(models.embedder)

    async def queries() -> list[Any]:
        return [
            await embeddings.aembed_query(QUERY),
            await embedding.aget_query_embedding(QUERY),
            (await text_embedder.run_async(QUERY))["embedding"],
        ]

    for vector in asyncio.run(queries()):
        assert same(vector, langchain_query(models.embedder), models.tolerance)


# ------------------------------------------------------------------ what they declare


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        (Qwen3Embedder, Qwen3TextEmbedder),
        (Qwen3Embedder, Qwen3DocumentEmbedder),
        (Qwen3Reranker, Qwen3Ranker),
        (Qwen3Embedder, Qwen3Embeddings),
        (Qwen3Reranker, LangChainRerank),
        (Qwen3Embedder, Qwen3Embedding),
        (Qwen3Reranker, LlamaIndexRerank),
    ],
)
def test_adapters_accept_every_argument_of_the_class(kind: Any, adapter: Any) -> None:
    # A cache is given as `backend=Cached(...)`.
    arguments = set(inspect.signature(kind.__init__).parameters) - {"self", "cache"}
    fields = getattr(adapter, "model_fields", None)
    offered = set(fields if fields else inspect.signature(adapter.__init__).parameters)
    if {"dim", "model_name"} <= offered:  # LlamaIndex's name of the argument
        offered.add("model")
    of_the_other_side = {
        Qwen3DocumentEmbedder: {"instruction", "query_template"},
        Qwen3TextEmbedder: {"document_prefix"},
    }

    assert arguments - offered == of_the_other_side.get(adapter, set())


@pytest.mark.parametrize(
    "package",
    [
        "langchain_qwen3_rag",
        "llama_index.embeddings.qwen3_rag",
        "llama_index.postprocessor.qwen3_rag",
        "llama_index.retrievers.qwen3_rag",
    ],
)
def test_importing_an_adapter_imports_no_model_library(package: str) -> None:
    """Haystack is not listed because it imports torch itself."""
    code = f"import sys, {package}; print({{'torch', 'transformers'}} & set(sys.modules))"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "set()"


# ------------------------------------------------------------------ what they cost


@pytest.mark.parametrize("embed", [langchain_documents, llama_index_documents, haystack_documents])
def test_adapters_make_one_call_for_all_documents(embed: Vectors) -> None:
    """An adapter makes one call for all documents. `benchmarks/adapters.py` measures the time."""
    backend = CountingBackend(embed.__name__)

    embed(Qwen3Embedder("counted", backend=backend))

    assert [len(run) for run in backend.uses.runs] == [len(TEXTS)]
