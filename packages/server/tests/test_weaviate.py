"""Weaviate's own modules, which ask this server for vectors and scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_server import RunningServer
from qwen3_rag_testkit.weaviate_server import WeaviateServer


def test_a_text_gets_its_vector_as_query_or_document(
    client: httpx.Client, embedder: Qwen3Embedder
) -> None:
    def vector(text: str, **config: Any) -> Any:
        # What text2vec-transformers of Weaviate 1.39 sends.
        body = {"text": text, "dims": 0, "vector": None, "error": "", "config": config}
        answer = client.post("/vectors", json=body).json()
        assert answer["dims"] == len(answer["vector"])
        return answer["vector"]

    kind = {"pooling_strategy": "masked_mean"}
    [document], [query] = embedder.embed_documents([QUERY]), embedder.embed_queries([QUERY])
    np.testing.assert_allclose(vector(QUERY, **kind, task_type="passage"), document, atol=1e-6)
    np.testing.assert_allclose(vector(QUERY, **kind, task_type="query"), query, atol=1e-6)
    np.testing.assert_allclose(
        vector(QUERY, **kind, task_type="query", dimensions=64),
        query[:64] / np.linalg.norm(query[:64]),
        atol=1e-6,
    )


@pytest.fixture
def weaviate(server: RunningServer) -> Iterator[Any]:
    """A real server with the two modules."""
    client = pytest.importorskip("weaviate", reason="weaviate-client is not installed")
    binary = os.environ.get("WEAVIATE_BINARY")
    if binary is None:
        pytest.skip("WEAVIATE_BINARY names no server")
    settings = {
        "ENABLE_MODULES": "text2vec-transformers,reranker-transformers",
        "TRANSFORMERS_INFERENCE_API": server.url,
        "RERANKER_INFERENCE_API": server.url,
    }
    with (
        WeaviateServer(binary, settings=settings) as running,
        client.connect_to_local(port=running.port, grpc_port=running.grpc_port) as connected,
    ):
        yield connected


def test_a_real_weaviate_vectorises_and_reranks(
    weaviate: Any, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    from weaviate.classes.config import Configure, DataType, Property
    from weaviate.classes.query import MetadataQuery, Rerank

    facts = weaviate.collections.create(
        "Facts",
        properties=[Property(name="text", data_type=DataType.TEXT)],
        vector_config=Configure.Vectors.text2vec_transformers(vectorize_collection_name=False),
        reranker_config=Configure.Reranker.transformers(),
    )
    for text in DOCUMENTS:
        facts.data.insert({"text": text})

    found = facts.query.near_text(
        QUERY,
        limit=3,
        include_vector=True,
        rerank=Rerank(prop="text", query=QUERY),
        return_metadata=MetadataQuery(distance=True),
    ).objects

    [query] = embedder.embed_queries([QUERY])
    assert {one.properties["text"] for one in found} == set(DOCUMENTS)
    for one in found:
        [expected] = embedder.embed_documents([one.properties["text"]])
        np.testing.assert_allclose(one.vector["default"], expected, atol=1e-5)
        assert one.metadata.distance == pytest.approx(1 - query @ expected, abs=1e-4)
        [score] = reranker.score([(QUERY, one.properties["text"])])
        assert one.metadata.rerank_score == pytest.approx(score, abs=1e-5)
