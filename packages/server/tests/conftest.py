from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from packages.server.tests.served_process import ServedProcess
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_server import RunningServer, Served

#: In front of texts of the tests' documents.
DOCUMENTS = [
    "Bananas are yellow.",
    "Paris is the capital of France.",
    "France is a country in Europe.",
]
QUERY = "What is the capital of France?"


@pytest.fixture(scope="session")
def embedder() -> Iterator[Qwen3Embedder]:
    with Qwen3Embedder("tiny") as model:
        yield model


@pytest.fixture(scope="session")
def reranker() -> Iterator[Qwen3Reranker]:
    with Qwen3Reranker("tiny") as model:
        yield model


@pytest.fixture(scope="session")
def server(embedder: Qwen3Embedder, reranker: Qwen3Reranker) -> Iterator[RunningServer]:
    with RunningServer(Served(embedder, reranker), port=0) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


@pytest.fixture(scope="session")
def apart() -> Iterator[ServedProcess]:
    """A server in a process of its own, with a key and an index."""
    with ServedProcess() as running:
        yield running


def _documents(texts: list[str]) -> list[Document]:
    return [Document(f"d{n}", text, {"place": n % 2}) for n, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path: Path, embedder: Qwen3Embedder) -> Path:
    with HybridSearcher(QdrantEdgeStore(tmp_path / "index"), embedder) as searcher:
        searcher.create(fields={"place": "integer"})
        searcher.add(_documents(DOCUMENTS))
        searcher.store.publish()  # type: ignore[attr-defined]  # it is a QdrantEdgeStore
    return tmp_path / "index"


@pytest.fixture
def searcher(
    folder: Path, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> Iterator[HybridSearcher]:
    store = QdrantEdgeStore(folder, read_only=True)
    with HybridSearcher(store, embedder, reranker) as made:
        yield made
