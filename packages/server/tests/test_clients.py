"""Other projects' own clients, unchanged, on a running server."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_server import RunningServer

TASK = "Find a sentence about fruit"


def _near(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=0, atol=1e-6)


def _ranking(reranker: Qwen3Reranker, **options: Any) -> list[tuple[int, Any]]:
    ranked = reranker.rank(QUERY, DOCUMENTS, **options)
    return [(one.index, pytest.approx(one.score, abs=1e-6)) for one in ranked]


@pytest.fixture
def cohere(server: RunningServer) -> Any:
    package = pytest.importorskip("cohere", reason="cohere is not installed")
    with httpx.Client(timeout=60) as client:
        yield package.ClientV2(api_key="none", base_url=server.url, httpx_client=client)


def test_cohere_reranks(cohere: Any, reranker: Qwen3Reranker) -> None:
    answer = cohere.rerank(model="tiny", query=QUERY, documents=DOCUMENTS, top_n=2)

    got = [(one.index, one.relevance_score) for one in answer.results]
    assert got == _ranking(reranker)[:2]
    assert answer.meta.tokens.input_tokens > 0


def test_cohere_embeds_queries_and_documents(cohere: Any, embedder: Qwen3Embedder) -> None:
    documents = cohere.embed(model="tiny", texts=DOCUMENTS, input_type="search_document")
    content = [{"type": "text", "text": QUERY}]
    query = cohere.embed(
        model="tiny",
        inputs=[{"content": content}],
        input_type="search_query",
        output_dimension=64,
        embedding_types=["float", "base64"],
    )

    expected = embedder.embed_documents(DOCUMENTS, details=True)
    _near(documents.embeddings.float_, expected.vectors)
    assert documents.texts == DOCUMENTS
    assert documents.meta.billed_units.input_tokens == sum(expected.tokens or ())
    [short] = embedder.embed_queries([QUERY])[:, :64]
    short /= np.linalg.norm(short)
    _near(query.embeddings.float_, [short])
    [data] = query.embeddings.base64
    _near(np.frombuffer(base64.b64decode(data), "<f4"), short)


@pytest.mark.parametrize("truncate", ["NONE", "END", "START"])
def test_cohere_is_told_of_a_text_that_is_too_long_unless_it_is_to_be_cut(
    cohere: Any, truncate: str
) -> None:
    from cohere.errors import BadRequestError

    long = {"model": "tiny", "texts": ["word " * 20_000], "input_type": "search_document"}
    if truncate == "END":
        assert cohere.embed(**long, truncate=truncate).cut_at[0] > 4_000
        return
    with pytest.raises(BadRequestError, match="is longer than" if truncate == "NONE" else "'END'"):
        cohere.embed(**long, truncate=truncate)


def test_cohere_is_refused_what_the_model_has_not(cohere: Any) -> None:
    from cohere.errors import BadRequestError

    texts = {"model": "tiny", "texts": ["a"], "input_type": "search_document"}
    for wrong, told in (
        ({"input_type": "classification"}, "search_document"),
        ({"embedding_types": ["int8"]}, "base64"),
        ({"texts": None}, "Give `texts`"),
        ({"output_dimension": 7}, "`output_dimension` must be from 32"),
        ({"max_tokens": 7}, "`max_tokens` must be from 64"),
    ):
        with pytest.raises(BadRequestError, match=told):
            cohere.embed(**{**texts, **wrong})


def test_llama_index_embeds_as_with_openai(server: RunningServer, embedder: Qwen3Embedder) -> None:
    package = pytest.importorskip(
        "llama_index.embeddings.openai_like",
        reason="llama-index-embeddings-openai-like is not installed",
    )
    with httpx.Client(timeout=60) as client:

        def made(model: str) -> Any:
            return package.OpenAILikeEmbedding(
                model_name=model,
                api_base=f"{server.url}/v1",
                api_key="none",
                dimensions=64,
                http_client=client,
            )

        documents = made("tiny").get_text_embedding_batch(DOCUMENTS)
        query = made("tiny:query").get_query_embedding(QUERY)

    expected = embedder.embed_documents(DOCUMENTS)[:, :64]
    _near(documents, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    [short] = embedder.embed_queries([QUERY])[:, :64]
    _near(query, short / np.linalg.norm(short))


def test_haystack_embeds_as_with_openai(server: RunningServer, embedder: Qwen3Embedder) -> None:
    pytest.importorskip("haystack", reason="haystack-ai is not installed")
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    where: dict[str, Any] = {
        "api_base_url": f"{server.url}/v1",
        "api_key": Secret.from_token("none"),
    }
    for_queries = OpenAITextEmbedder(model="tiny:query", **where)
    for_documents = OpenAIDocumentEmbedder(model="tiny", progress_bar=False, **where)
    query = for_queries.run(QUERY)["embedding"]
    documents = for_documents.run([Document(content=text) for text in DOCUMENTS])["documents"]

    _near(query, embedder.embed_queries([QUERY])[0])
    _near([one.embedding for one in documents], embedder.embed_documents(DOCUMENTS))


@pytest.mark.parametrize("kind", ["tei", "vllm"])
def test_haystack_reranks(server: RunningServer, reranker: Qwen3Reranker, kind: str) -> None:
    module = {"tei": "huggingface_api", "vllm": "vllm"}[kind]
    package = pytest.importorskip(
        f"haystack_integrations.components.rankers.{module}",
        reason=f"Haystack's ranker for {kind} is not installed",
    )
    from haystack import Document

    documents = [Document(content=text) for text in DOCUMENTS]
    if kind == "tei":
        ranker = package.HuggingFaceTEIRanker(url=server.url, token=None)
        expected = _ranking(reranker)
    else:
        ranker = package.VLLMRanker(
            model="tiny",
            api_base_url=f"{server.url}/v1",
            extra_parameters={"instruction": TASK},
        )
        expected = _ranking(reranker, instruction=TASK)
    got = ranker.run(query=QUERY, documents=documents)["documents"]
    ranker.close()

    assert [(DOCUMENTS.index(one.content), one.score) for one in got] == expected


def test_haystack_embeds_as_with_tei(server: RunningServer, embedder: Qwen3Embedder) -> None:
    package = pytest.importorskip(
        "haystack_integrations.components.embedders.huggingface_api",
        reason="huggingface-api-haystack is not installed",
    )
    options = {"api_type": "text_embeddings_inference", "api_params": {"url": server.url}}
    made = package.HuggingFaceAPITextEmbedder(**options, token=None)
    vector = np.asarray(made.run(DOCUMENTS[0])["embedding"])
    made.close()

    assert not made.normalize  # unless it is asked for
    assert np.linalg.norm(vector) > 2
    _near(vector / np.linalg.norm(vector), embedder.embed_documents(DOCUMENTS[:1])[0])


def test_huggingface_hub_extracts_features(server: RunningServer, embedder: Qwen3Embedder) -> None:
    package = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    client = package.InferenceClient(server.url)
    document = client.feature_extraction(DOCUMENTS[0])
    query = client.feature_extraction(QUERY, prompt_name="query", normalize=True)
    raw = client.feature_extraction(QUERY, prompt_name="query", normalize=False)

    _near(document, embedder.embed_documents(DOCUMENTS[:1]))
    _near(query, embedder.embed_queries([QUERY]))
    _near(raw / np.linalg.norm(raw), embedder.embed_queries([QUERY]))
    assert np.linalg.norm(raw) > 2
