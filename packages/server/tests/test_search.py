"""Hybrid search over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from packages.server.tests.conftest import QUERY
from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_server import RunningServer, Served


@pytest.fixture
def found(searcher: HybridSearcher) -> Iterator[Any]:
    served = Served(searcher.embedder, searcher.reranker, {"facts": searcher})
    with RunningServer(served, port=0) as server:

        def post(**body: Any) -> httpx.Response:
            return httpx.post(f"{server.url}/v1/search", json=body, timeout=60)

        yield post


def test_hits_are_those_of_the_searcher_with_their_ranks(
    found: Any, searcher: HybridSearcher
) -> None:
    answer = found(query=QUERY, limit=2).json()

    expected = searcher.search(QUERY, limit=2)
    assert answer["index"] == "facts"
    assert [one["id"] for one in answer["hits"]] == [hit.id for hit in expected]
    for one, hit in zip(answer["hits"], expected, strict=True):
        assert one["score"] == pytest.approx(hit.score, abs=1e-6)
        assert (one["text"], one["payload"]) == (hit.text, hit.payload)
        assert {name: rank["rank"] for name, rank in one["ranks"].items()} == {
            name: rank.rank for name, rank in hit.ranks.items()
        }


def test_filters_and_options_reach_the_store(found: Any) -> None:
    def ids(**options: Any) -> list[str]:
        return [hit["id"] for hit in found(query=QUERY, **options).json()["hits"]]

    assert ids(filter={"place": [1]}) == ["d1"]
    assert set(ids(filter={"place": [0]})) == {"d0", "d2"}
    assert ids(ids=["d2"]) == ["d2"]
    assert ids(limit=1, offset=1) == [ids()[1]]
    assert len(ids(group_by="place")) == 2
    assert ids(min_score=1.0) == []


def test_a_request_chooses_how_it_is_searched_and_is_told_the_seconds(
    found: Any, searcher: HybridSearcher
) -> None:
    def order(**options: Any) -> tuple[list[str], set[str]]:
        answer = found(query=QUERY, **options).json()
        return [hit["id"] for hit in answer["hits"]], set(answer["seconds"])

    by_words = searcher.tuned(weights={"dense": 0, "bm25": 1}, rerank_depth=0)
    expected = [hit.id for hit in by_words.search(QUERY)]
    ids, steps = order(weights={"dense": 0, "bm25": 1}, rerank_depth=0)
    assert (ids, steps) == (expected, {"embed", "retrieve"})
    assert order()[1] == {"embed", "retrieve", "rerank"}
    assert order(fusion="rrf", rerank_depth=0)[0] == [
        hit.id for hit in searcher.tuned(fusion="rrf", rerank_depth=0).search(QUERY)
    ]
    assert len(order(candidates=1, limit=1)[0]) == 1


def test_what_another_process_published_is_found(
    found: Any, folder: Path, embedder: Qwen3Embedder
) -> None:
    assert len(found(query=QUERY).json()["hits"]) == 3
    with HybridSearcher(QdrantEdgeStore(folder), embedder) as writer:
        writer.add([Document("new", "Paris, capital of France, has a tower.")])
        writer.store.publish()  # type: ignore[attr-defined]  # it is a QdrantEdgeStore

    assert "new" in [hit["id"] for hit in found(query=QUERY).json()["hits"]]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"query": " "}, 400, "`query` is empty"),
        ({"query": QUERY, "index": "other"}, 404, "'facts'"),
        ({"query": QUERY, "limit": 0}, 400, "`limit`"),
        ({"query": QUERY, "limit": 10_000}, 400, "candidates"),
        ({"query": QUERY, "filter": {"nowhere": [1]}}, 400, "nowhere"),
        ({"query": QUERY, "filter": {"place": 1}}, 400, "`filter`: Input should be a valid list"),
        ({"query": QUERY, "tenant": "a"}, 400, "tenant"),
        ({"query": QUERY, "weights": {"sparse": 1}}, 400, "sparse"),
        ({"query": QUERY, "rerank_depth": 5_000}, 400, "`rerank_depth`"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    found: Any, body: dict[str, Any], status: int, told: str
) -> None:
    answer = found(**body)

    assert answer.status_code == status, answer.text
    assert told in answer.json()["error"]["message"]
    assert os.sep not in answer.json()["error"]["message"]  # as of where the index is


@pytest.mark.parametrize("filter", [{"": [1]}, {"place": [2**63]}, {"place": []}, {"a\0": ["b"]}])
def test_a_filter_that_no_store_can_ask_is_refused(found: Any, filter: dict[str, Any]) -> None:
    answer = found(query=QUERY, filter=filter)

    assert answer.status_code == 400
    assert "filter" in answer.json()["error"]["message"]


def test_without_an_index_the_answer_says_so(client: httpx.Client) -> None:
    answer = client.post("/v1/search", json={"query": QUERY})

    assert answer.status_code == 404
    assert "no index" in answer.json()["error"]["message"]
