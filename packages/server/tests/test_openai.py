"""OpenAI's embedding API, by OpenAI's own client and by plain requests."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from qwen3_rag import Qwen3Embedder
from qwen3_rag_server import RunningServer

TEXTS = ["Paris is the capital of France.", "", "한국어 문서"]


@pytest.fixture
def official(server: RunningServer) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def test_the_official_client_gets_the_vectors_of_documents(
    official: openai.OpenAI, embedder: Qwen3Embedder
) -> None:
    answer = official.embeddings.create(model="tiny", input=TEXTS)

    got = np.array([one.embedding for one in answer.data], dtype=np.float32)
    expected = embedder.embed_documents(TEXTS, details=True)
    np.testing.assert_allclose(got, expected.vectors, atol=1e-6)
    assert expected.tokens is not None
    assert answer.usage.prompt_tokens == sum(expected.tokens)


@pytest.mark.parametrize(
    "extra",
    [
        {"input_type": "query"},
        {"input_type": "search_query"},
        {"instruction": "Find the document"},
    ],
)
def test_queries_get_their_instruction(
    official: openai.OpenAI, embedder: Qwen3Embedder, extra: dict[str, str]
) -> None:
    answer = official.embeddings.create(
        model="tiny", input=["capital"], dimensions=64, extra_body=extra
    )

    [expected] = embedder.embed_queries(["capital"], instruction=extra.get("instruction"))
    expected = expected[:64] / np.linalg.norm(expected[:64])
    np.testing.assert_allclose(answer.data[0].embedding, expected, atol=1e-6)


def test_a_model_of_queries_is_for_clients_that_send_no_other_field(
    official: openai.OpenAI, embedder: Qwen3Embedder
) -> None:
    answer = official.embeddings.create(model="tiny:query", input="capital")

    [expected] = embedder.embed_queries(["capital"])
    np.testing.assert_allclose(answer.data[0].embedding, expected, atol=1e-6)
    assert {one.id for one in official.models.list()} >= {"tiny", "tiny:query"}


def test_both_encodings_have_the_same_numbers(client: httpx.Client) -> None:
    body = {"model": "tiny", "input": "capital"}
    plain = client.post("/v1/embeddings", json=body).json()
    packed = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()

    numbers = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_array_equal(numbers, np.float32(plain["data"][0]["embedding"]))


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"model": "other", "input": "a"}, 404, "'tiny'"),
        ({"model": "tiny"}, 400, "`input` is missing"),
        (
            {"model": "tiny", "input": "a", "truncate_prompt_tokens": 2},
            400,
            "`truncate_prompt_tokens` must be from 64",
        ),
        ({"model": "tiny", "input": [1, 2]}, 400, "check_embedding_ctx_length=False"),
        ({"model": "tiny", "input": [[1, 2]]}, 400, "check_embedding_ctx_length=False"),
        ({"model": "tiny", "input": ["a", None]}, 400, "Item 1 should be a string"),
        ({"model": "tiny", "input": "a", "dimension": 64}, 400, "dimensions"),
        ({"model": "tiny", "input": "a", "dimensions": 7}, 400, "`dimensions` must be from 32"),
        ({"model": "tiny", "input": " ", "input_type": "query"}, 400, "`input[0]` is empty"),
        (
            {"model": "tiny", "input": "a", "input_type": "document", "instruction": "Find"},
            400,
            "`instruction` is for queries",
        ),
        ({"model": "tiny:query", "input": "a", "input_type": "document"}, 400, "`input_type`"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(
    client: httpx.Client, body: Any, status: int, told: str
) -> None:
    answer = client.post("/v1/embeddings", json=body)

    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]


def test_a_text_that_is_too_long_is_refused_or_cut_as_asked(
    client: httpx.Client, embedder: Qwen3Embedder
) -> None:
    long = "word " * 20_000
    refused = client.post("/v1/embeddings", json={"model": "tiny", "input": ["a", long]})
    body = {"model": "tiny", "input": ["a", long], "truncate": True}
    cut = client.post("/v1/embeddings", json=body).json()

    assert refused.status_code == 400
    assert "`input[1]` is longer" in refused.json()["error"]["message"]
    expected = embedder.embed_documents([long], details=True)
    assert cut["cut_at"] == [None, *expected.cut_at]
    np.testing.assert_allclose(cut["data"][1]["embedding"], expected.vectors[0], atol=1e-6)


def test_the_type_of_an_error_tells_that_the_request_is_wrong(client: httpx.Client) -> None:
    answer = client.put("/v1/embeddings")

    assert (answer.status_code, answer.json()["error"]["type"]) == (405, "invalid_request_error")
