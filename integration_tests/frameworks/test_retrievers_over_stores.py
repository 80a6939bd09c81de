"""The retrievers of every framework over every store give a searcher's hits, with its arguments."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from qwen3_rag import Hit, InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import Document, HybridSearcher, open_store
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.weaviate_server import WeaviateServer

if TYPE_CHECKING:
    from qwen3_rag_testkit.weaviate_stand_in import WeaviateStandIn

QUERY = "What is the capital of France?"
DOCUMENTS = [
    Document("france-1", "Paris is the capital of France.", {"path": "france.md"}),
    Document("france-2", "France has a capital, which is Paris.", {"path": "france.md"}),
    Document("germany", "Berlin is the capital of Germany.", {"path": "germany.md"}),
    Document("disk", "E_4711 means that the disk is full.", {"path": "errors.md"}),
]
# Ids and scores of the results, for a framework's names of `limit` and `filter`.
Retrieve = Callable[..., list[tuple[str, float]]]


@pytest.fixture(scope="module")
def weaviate() -> Iterator[WeaviateServer | WeaviateStandIn]:
    """A server, from the binary that `WEAVIATE_BINARY` names, or a stand-in."""
    pytest.importorskip("weaviate", reason="weaviate-client is not installed")
    from qwen3_rag_testkit.weaviate_stand_in import WeaviateStandIn

    binary = os.environ.get("WEAVIATE_BINARY")
    with WeaviateServer(binary) if binary else WeaviateStandIn() as server:
        yield server


@pytest.fixture(params=["edge", "milvus", "weaviate"])
def searcher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HybridSearcher]:
    if request.param == "edge":
        pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")
        address = str(tmp_path / "index")
    elif request.param == "milvus":
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
        address = f"milvus:{tmp_path}/index.db/documents"
    else:
        server = request.getfixturevalue("weaviate")
        name = f"Documents{uuid4().hex}"
        address = f"weaviate://127.0.0.1:{server.port}/{name}?grpc_port={server.grpc_port}"
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
    reranker = Qwen3Reranker("test/reranker", backend=TextBackend("reranking"))
    with HybridSearcher(open_store(address), embedder, reranker) as searcher:
        searcher.create(fields={"path": "keyword"})
        searcher.add(DOCUMENTS)
        yield searcher
    embedder.close()
    reranker.close()


def with_langchain(searcher: Any, *, awaited: bool, **settings: Any) -> list[tuple[str, float]]:
    retrievers = pytest.importorskip("langchain_qwen3_rag")
    names = {"limit": "k"}
    retriever = retrievers.Qwen3HybridRetriever(searcher=searcher, **_named(settings, names))
    found = asyncio.run(retriever.ainvoke(QUERY)) if awaited else retriever.invoke(QUERY)
    called = retrievers.Qwen3HybridRetriever(searcher=searcher).invoke(
        QUERY, **_named(settings, names)
    )
    assert called == found
    return [(one.id, one.metadata["relevance_score"]) for one in found]


def with_llama_index(searcher: Any, *, awaited: bool, **settings: Any) -> list[tuple[str, float]]:
    retrievers = pytest.importorskip("llama_index.retrievers.qwen3_rag")
    names = {"limit": "similarity_top_k"}
    retriever = retrievers.Qwen3HybridRetriever(searcher, **_named(settings, names))
    with asyncio.Runner() as runner:
        runner.get_loop()  # its blocking methods take the thread's loop
        found = runner.run(retriever.aretrieve(QUERY)) if awaited else retriever.retrieve(QUERY)
    return [(one.node_id, one.score) for one in found]


def with_haystack(searcher: Any, *, awaited: bool, **settings: Any) -> list[tuple[str, float]]:
    retrievers = pytest.importorskip("haystack_integrations.components.retrievers.qwen3_rag")
    given = _named(settings, {"limit": "top_k", "filter": "filters"})
    retriever = retrievers.Qwen3HybridRetriever(searcher, **given)
    found = asyncio.run(retriever.run_async(QUERY)) if awaited else retriever.run(QUERY)
    of_call = {k: v for k, v in given.items() if k not in ("group_by", "per_group")}
    of_init = {k: v for k, v in given.items() if k in ("group_by", "per_group")}
    assert retrievers.Qwen3HybridRetriever(searcher, **of_init).run(QUERY, **of_call) == found
    return [(one.id, one.score) for one in found["documents"]]


def _named(settings: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in settings.items()}


FRAMEWORKS = [with_langchain, with_llama_index, with_haystack]


@pytest.mark.parametrize("retrieve", FRAMEWORKS)
@pytest.mark.parametrize("awaited", [False, True])
def test_a_retriever_gives_the_searchers_hits(
    searcher: HybridSearcher, retrieve: Retrieve, awaited: bool
) -> None:
    in_france = searcher.store.matching({"path": ["france.md", "nowhere.md"]})
    requests: list[dict[str, Any]] = [
        {},
        {"limit": 2},
        {"filter": in_france},
        {"ids": ["disk", "germany"]},
        {"group_by": "path"},
        {"group_by": "path", "per_group": 2, "limit": 2},
        {"min_score": searcher.search(QUERY)[2].score},
        {"filter": in_france, "min_score": 0.0, "group_by": "path", "limit": 1},
    ]

    default = places(searcher.search(QUERY))
    for request in requests:
        expected = places(searcher.search(QUERY, **request))
        assert retrieve(searcher, awaited=awaited, **request) == expected, request
        assert (expected == default) == (not request)


@pytest.mark.parametrize("retrieve", FRAMEWORKS)
@pytest.mark.parametrize("name", ["ids", "tenant", "min_score", "group_by", "per_group"])
def test_a_searcher_that_does_not_take_an_argument_is_named(retrieve: Retrieve, name: str) -> None:
    values = {"ids": ["a"], "min_score": 0.5, "per_group": 2}

    with pytest.raises(
        InputError, match=rf"`{name}` was given, and the searches of a Plain do not"
    ):
        retrieve(Plain(), awaited=False, **{name: values.get(name, "a")})
    assert retrieve(Plain(), awaited=False) == []


class Plain:
    """A searcher with the arguments of the protocol alone."""

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        return []

    async def asearch(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        filter: Any = None,
        instruction: str | None = None,
    ) -> list[Hit]:
        return []


def places(hits: list[Hit]) -> list[tuple[str, float]]:
    return [(str(hit.id), hit.score) for hit in hits]
