"""LangChain's class for OpenAI, which other frameworks' users have in their pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import Qwen3Embedder
from qwen3_rag_server import RunningServer


@pytest.fixture
def made(server: RunningServer) -> Any:
    package = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    with httpx.Client(timeout=60) as client:

        def make(model: str, **options: Any) -> Any:
            return package.OpenAIEmbeddings(
                model=model,
                base_url=f"{server.url}/v1",
                api_key=SecretStr("none"),
                http_client=client,
                **options,
            )

        yield make


def test_documents_and_queries_by_an_object_for_each(
    made: Callable[..., Any], embedder: Qwen3Embedder
) -> None:
    options = {"check_embedding_ctx_length": False}
    documents = made("tiny", **options).embed_documents(DOCUMENTS)
    query = made("tiny:query", **options).embed_query(QUERY)

    np.testing.assert_allclose(documents, embedder.embed_documents(DOCUMENTS), atol=1e-6)
    np.testing.assert_allclose(query, embedder.embed_queries([QUERY])[0], atol=1e-6)
