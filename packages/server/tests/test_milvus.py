"""Milvus' functions, which ask this server for vectors and scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_server import RunningServer

SIZE = 512


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[Any]:
    """The real Milvus Lite."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    package = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    client = package.MilvusClient(str(tmp_path / "milvus.db"))
    yield client
    client.close()


def _collection(client: Any, *functions: Any) -> None:
    from pymilvus import DataType

    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=500)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=SIZE)
    for function in functions:
        schema.add_function(function)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection("facts", schema=schema, index_params=index)


def test_milvus_lite_reranks_as_with_cohere(
    milvus: Any, server: RunningServer, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    from pymilvus import Function, FunctionType

    _collection(milvus)
    vectors = embedder.embed_documents(DOCUMENTS)
    rows = zip(DOCUMENTS, vectors.tolist(), strict=True)
    milvus.insert("facts", [{"id": n, "text": t, "vector": v} for n, (t, v) in enumerate(rows)])
    function = Function(
        name="reranked",
        input_field_names=["text"],
        function_type=FunctionType.RERANK,
        params={
            **{"reranker": "model", "provider": "cohere", "model_name": "tiny"},
            **{"base_url": f"{server.url}/v2", "api_key": "none", "queries": [QUERY]},
        },
    )
    # By another question, so that the order is the reranker's.
    asked = embedder.embed_queries(["Which fruit is yellow?"]).tolist()
    [plain] = milvus.search("facts", data=asked, anns_field="vector", limit=3)
    [found] = milvus.search("facts", data=asked, anns_field="vector", limit=3, ranker=function)

    expected = [(one.index, one.score) for one in reranker.rank(QUERY, DOCUMENTS)]
    assert plain[0]["id"] == 0
    assert [one["id"] for one in found] == [index for index, _ in expected]
    scores = [one["distance"] for one in found]
    assert scores == pytest.approx([score for _, score in expected], abs=1e-6)


def test_milvus_lite_embeds_documents_as_with_openai(
    milvus: Any, server: RunningServer, embedder: Qwen3Embedder
) -> None:
    from pymilvus import Function, FunctionType

    function = Function(
        name="embedded",
        input_field_names=["text"],
        output_field_names=["vector"],
        function_type=FunctionType.TEXTEMBEDDING,
        params={
            **{"provider": "openai", "model_name": "tiny", "dimensions": SIZE},
            **{"base_url": f"{server.url}/v1", "api_key": "none"},
        },
    )
    _collection(milvus, function)
    milvus.insert("facts", [{"id": n, "text": text} for n, text in enumerate(DOCUMENTS)])
    asked = embedder.embed_queries([QUERY])
    [found] = milvus.search("facts", data=asked.tolist(), anns_field="vector", limit=3)

    similar = (asked @ embedder.embed_documents(DOCUMENTS).T)[0]
    assert [one["id"] for one in found] == np.argsort(-similar).tolist()
    scores = [one["distance"] for one in found]
    assert scores == pytest.approx(sorted(similar.tolist(), reverse=True), abs=1e-5)


def _go(body: dict[str, Any], *, is_map: bool) -> bytes:
    """Write JSON as Go does: maps in the order of their keys, and `<`, `>` and `&` escaped."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=is_map)
    for one in "<>&":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text.encode()


def _sent(server: RunningServer, path: str, content: bytes) -> Any:
    """Send what a Milvus server sends."""
    headers = {"content-type": "application/json", "user-agent": "Go-http-client/1.1"}
    answer = httpx.post(f"{server.url}{path}", content=content, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


TEXTS = [*DOCUMENTS, "<b>한국어</b> & more"]


@pytest.mark.parametrize("cut", [{}, {"truncate": True, "truncation_direction": "Right"}])
def test_its_provider_tei_gets_scores_by_index(
    server: RunningServer, reranker: Qwen3Reranker, cut: dict[str, Any]
) -> None:
    body = _go({"query": QUERY, "texts": TEXTS, **cut}, is_map=True)
    found = sorted(_sent(server, "/rerank", body), key=lambda one: one["index"])

    assert [one["index"] for one in found] == list(range(len(TEXTS)))
    scores = [one["score"] for one in found]
    assert scores == pytest.approx(reranker.score([(QUERY, one) for one in TEXTS]), abs=1e-6)


def test_its_provider_tei_gets_the_vectors_of_the_prompt_that_is_set_there(
    server: RunningServer, embedder: Qwen3Embedder
) -> None:
    task = "Given a question, retrieve passages that answer it"
    prompt = f"Instruct: {task}\nQuery:"
    query = _sent(server, "/embed", _go({"inputs": [prompt + QUERY]}, is_map=False))
    documents = _sent(server, "/embed", _go({"inputs": TEXTS, "truncate": True}, is_map=False))

    np.testing.assert_allclose(query, embedder.embed_queries([QUERY], instruction=task), atol=1e-6)
    np.testing.assert_allclose(documents, embedder.embed_documents(TEXTS), atol=1e-6)


@pytest.mark.parametrize("limit", [None, -1, 100])
def test_its_provider_vllm_gets_a_score_for_every_document(
    server: RunningServer, reranker: Qwen3Reranker, limit: int | None
) -> None:
    texts = TEXTS if limit is None else [*TEXTS, "word " * 20_000]
    cut = {} if limit is None else {"truncate_prompt_tokens": limit}
    body = _go({"query": QUERY, "documents": texts, **cut}, is_map=True)
    found = sorted(_sent(server, "/rerank", body)["results"], key=lambda one: one["index"])

    with Qwen3Reranker("tiny", max_length=limit if limit == 100 else None) as same:
        expected = same.score([(QUERY, one) for one in texts])
    assert [one["index"] for one in found] == list(range(len(texts)))
    assert [one["relevance_score"] for one in found] == pytest.approx(expected, abs=1e-6)


def test_its_provider_vllm_gets_vectors_without_naming_a_model(
    server: RunningServer, embedder: Qwen3Embedder
) -> None:
    body = {"input": TEXTS, "encoding_format": "float", "dimensions": 64}
    answer = _sent(server, "/v1/embeddings", _go(body, is_map=True))

    expected = embedder.embed_documents(TEXTS)[:, :64]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    got = [one["embedding"] for one in answer["data"]]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert answer["model"] == "tiny"
