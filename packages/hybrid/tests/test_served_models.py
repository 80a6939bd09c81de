"""Collections of models on a server: told by content or name, and refused to another model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

import qwen3_rag_tiny
from qwen3_rag import Qwen3Embedder, Remote, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore, QdrantStore, Store

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.own_servers import VLLMServer

DOCUMENTS = [Document(1, "Paris is the capital of France."), Document(2, "Bread is baked.")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with VLLMServer(qwen3_rag_tiny.embedding_folder(), "embedding") as server:
        yield server.url


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A checkpoint whose weights are on the server alone."""
    folder = tmp_path / "embedder"
    shutil.copytree(qwen3_rag_tiny.embedding_folder(), folder)
    (folder / "model.safetensors").unlink()
    return str(folder)


@pytest.fixture(params=["edge", "client"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    if request.param == "edge":
        yield lambda: QdrantEdgeStore(tmp_path / "store")
        return
    client = QdrantClient(":memory:")
    yield lambda: QdrantStore(client, "documents")
    client.close()


def filled(store: Store, embedder: Qwen3Embedder) -> None:
    with HybridSearcher(store, embedder) as searcher:
        searcher.create()
        searcher.add(DOCUMENTS)
    store.close()


def test_a_model_with_known_content_is_the_same_here_and_on_a_server(
    url: str, open_store: Callable[[], Store]
) -> None:
    filled(open_store(), Qwen3Embedder("tiny", backend=Remote(url)))

    with HybridSearcher(open_store(), Qwen3Embedder("tiny")) as searcher:
        assert searcher.check_collection() == []
        assert searcher.search("What is the capital of France?")[0].id == 1


def test_a_model_that_is_known_by_name_alone_is_used_with_a_warning(
    url: str, folder: str, open_store: Callable[[], Store]
) -> None:
    filled(open_store(), Qwen3Embedder(folder, backend=Remote(url)))

    with HybridSearcher(open_store(), Qwen3Embedder(folder, backend=Remote(url))) as searcher:
        [finding] = searcher.check_collection()
        assert searcher.search("What is the capital of France?")[0].id == 1

    assert (finding.code, finding.severity) == ("model", "warning")
    assert "revision=" in finding.remedy


def test_a_version_that_was_named_is_told_from_others(
    url: str, folder: str, open_store: Callable[[], Store]
) -> None:
    filled(open_store(), Qwen3Embedder(folder, backend=Remote(url, revision="1")))

    same = Qwen3Embedder(folder, backend=Remote(url, revision="1"))
    with HybridSearcher(open_store(), same) as searcher:
        assert searcher.check_collection() == []
        assert searcher.search("What is the capital of France?")[0].id == 1
        searcher.store.close()
    for revision in ("2", None):
        other = Qwen3Embedder(folder, backend=Remote(url, revision=revision))
        with (
            HybridSearcher(open_store(), other) as searcher,
            pytest.raises(StoreError, match=r"another version.*with the revision '1'"),
        ):
            searcher.search("What is the capital of France?")
        searcher.store.close()


def test_a_version_that_was_named_counts_although_the_weights_are_here(
    url: str, open_store: Callable[[], Store]
) -> None:
    filled(open_store(), Qwen3Embedder("tiny", backend=Remote(url, revision="1")))

    other = Qwen3Embedder("tiny", backend=Remote(url, revision="2"))
    with (
        HybridSearcher(open_store(), other) as searcher,
        pytest.raises(StoreError, match="with the revision '1'"),
    ):
        searcher.search("What is the capital of France?")


def test_another_model_is_refused_with_the_name_of_the_first(
    url: str, folder: str, tmp_path: Path, open_store: Callable[[], Store]
) -> None:
    filled(open_store(), Qwen3Embedder(folder, backend=Remote(url)))
    other = tmp_path / "other"
    shutil.copytree(folder, other)

    with (
        HybridSearcher(open_store(), Qwen3Embedder(str(other), backend=Remote(url))) as searcher,
        pytest.raises(StoreError, match=r"Open '.*embedder'"),
    ):
        searcher.search("What is the capital of France?")
