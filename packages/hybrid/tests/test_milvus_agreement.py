"""Milvus computes BM25 of our terms itself, and finds what Edge finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.corpora import DEFAULT_DATA, ndcg, read
from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_testkit.backends import TextBackend

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus

pytestmark = pytest.mark.skipif(
    not (DEFAULT_DATA / "corpora").is_dir(), reason=f"no corpora in {DEFAULT_DATA.name}/"
)
TEN = 10


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    path = str(tmp_path / "milvus.db")
    client = pymilvus.MilvusClient(path)
    yield client
    client.close()
    lite.server_manager_instance.release_server(path)


@pytest.mark.parametrize("queries", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("corpus", ["xquad_en", "tydiqa_ko_dev", "cmrc2018_dev"])
def test_it_finds_what_edge_finds(corpus: str, queries: int, client: Any, tmp_path: Path) -> None:
    texts = read(DEFAULT_DATA / "corpora" / corpus).sample(queries)
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 256))
    documents = [Document(id_, text) for id_, text in texts.documents.items()]
    with closing(QdrantEdgeStore(tmp_path / "edge")) as edge:
        stores = (edge, MilvusStore(client, "documents"))
        for store in stores:
            searcher = HybridSearcher(store, embedder)
            searcher.create()
            searcher.add(documents)  # measures their mean length
        client.flush("documents")  # Milvus Lite reads documents one by one until then

        for weights in ({"dense": 0}, None):  # BM25 alone, and fused
            ways = [HybridSearcher(store, embedder, weights=weights) for store in stores]
            expected, found = (
                {id_: top(way.search, query) for id_, query in texts.queries.items()}
                for way in ways
            )
            overlaps = [len({*expected[id_]} & {*found[id_]}) / TEN for id_ in texts.queries]
            assert sum(overlaps) / len(overlaps) >= 0.95
            assert ndcg(texts, found) == pytest.approx(ndcg(texts, expected), abs=0.01)


def top(search: Callable[..., Any], query: str) -> list[str]:
    return [hit.id for hit in search(query, limit=TEN)]
