"""Reranking in the shapes of several servers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import Qwen3Reranker


@pytest.fixture
def expected(reranker: Qwen3Reranker) -> list[float]:
    return reranker.score([(QUERY, one) for one in DOCUMENTS])


def test_texts_get_the_list_of_tei(client: httpx.Client, expected: list[float]) -> None:
    body = {"query": QUERY, "texts": DOCUMENTS, "return_text": True}
    answer = client.post("/rerank", json=body).json()

    assert [one["index"] for one in answer] == sorted(range(3), key=lambda i: -expected[i])
    for one in answer:
        assert one["score"] == pytest.approx(expected[one["index"]], abs=1e-6)
        assert one["text"] == DOCUMENTS[one["index"]]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_documents_get_results_best_first(
    client: httpx.Client, expected: list[float], path: str
) -> None:
    body = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    answer = client.post(path, json=body).json()

    best = sorted(range(3), key=lambda index: -expected[index])[:2]
    assert [one["index"] for one in answer["results"]] == best
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == pytest.approx([expected[index] for index in best], abs=1e-6)


def test_weaviate_gets_scores_in_the_order_of_its_documents(
    client: httpx.Client, expected: list[float]
) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, "property": ""}
    answer = client.post("/rerank", json=body).json()

    assert [one["document"] for one in answer["scores"]] == DOCUMENTS
    assert [one["score"] for one in answer["scores"]] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["instruction", "instruct"])
def test_an_instruction_counts_under_both_names(
    client: httpx.Client, reranker: Qwen3Reranker, name: str
) -> None:
    told = "Find a sentence about fruit"
    body: dict[str, Any] = {"query": QUERY, "documents": DOCUMENTS, name: told}
    answer = client.post("/v1/rerank", json=body).json()

    expected = reranker.rank(QUERY, DOCUMENTS, instruction=told)
    assert [one["relevance_score"] for one in answer["results"]] == pytest.approx(
        [one.score for one in expected], abs=1e-6
    )


def test_a_document_is_read_to_the_token_that_is_asked_for(
    client: httpx.Client, reranker: Qwen3Reranker
) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, "max_tokens_per_doc": 3}
    answer = client.post("/v2/rerank", json=body).json()

    with Qwen3Reranker("tiny", max_document_tokens=3) as short:
        expected = short.rank(QUERY, DOCUMENTS)
    assert [(one["index"], one["cut_at"]) for one in answer["results"]] == [
        (one.index, one.cut_at) for one in expected
    ]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/rerank", {"query": QUERY}, "Give `documents`, or `texts`"),
        ("/v1/rerank", {"query": " ", "documents": ["a"]}, "`query` is empty"),
        ("/v1/rerank", {"query": QUERY, "documents": [3]}, "`documents[0]`"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a"], "top_n": -1}, "`top_n`"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a"], "model": "x"}, "has 'tiny'"),
        ("/v1/rerank", {"query": QUERY, "documents": ["w " * 20_000]}, "`documents[0]` is longer"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(
    client: httpx.Client, path: str, body: Any, told: str
) -> None:
    answer = client.post(path, json=body)

    assert answer.status_code in (400, 404)
    assert told in answer.json()["message"]
