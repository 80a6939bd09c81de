"""Models that need no download: hashes of prompts, shared words, and the small trained pair."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.documents import Document

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.loops import SlowBackend

TEXTS = [
    "Paris is the capital of France.",
    "E_4711 means:\n\tthe disk is full.\n",
    "東京は日本の首都です。",
    "Café 👩‍👩‍👧 naïve",
    "",
]


@pytest.fixture
def embedder() -> Qwen3Embedder:
    """The core's embedder over hashes: any change of prompt changes all bits."""
    return Qwen3Embedder("test/embedder", backend=DeterministicBackend())


@pytest.fixture
def embeddings(embedder: Qwen3Embedder) -> Qwen3Embeddings:
    return Qwen3Embeddings.from_embedder(embedder)


@pytest.fixture
def reranker() -> Qwen3Reranker:
    """The core's reranker over hashes."""
    return Qwen3Reranker("test/reranker", backend=DeterministicBackend())


@pytest.fixture
def rerank(reranker: Qwen3Reranker) -> Qwen3Rerank:
    return Qwen3Rerank.from_reranker(reranker)


@pytest.fixture
def text_embeddings() -> Iterator[Qwen3Embeddings]:
    """Texts that share words are close."""
    with Qwen3Embeddings(model="test/embedder", backend=TextBackend()) as embeddings:
        yield embeddings


@pytest.fixture
def text_rerank() -> Iterator[Qwen3Rerank]:
    """Documents that share words with the query are good."""
    with Qwen3Rerank(model="test/reranker", backend=TextBackend()) as rerank:
        yield rerank


@pytest.fixture
def slow_embeddings() -> Iterator[Qwen3Embeddings]:
    """Each call takes a second."""
    with Qwen3Embeddings(model="test/embedder", backend=SlowBackend()) as embeddings:
        yield embeddings


@pytest.fixture
def slow_rerank() -> Iterator[Qwen3Rerank]:
    """Each call takes a second."""
    with Qwen3Rerank(model="test/reranker", backend=SlowBackend()) as rerank:
        yield rerank


@pytest.fixture(scope="session")
def tiny_embeddings() -> Iterator[Qwen3Embeddings]:
    with Qwen3Embeddings(model="tiny") as embeddings:
        yield embeddings


@pytest.fixture(scope="session")
def tiny_rerank() -> Iterator[Qwen3Rerank]:
    with Qwen3Rerank(model="tiny") as rerank:
        yield rerank


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(page_content=text, id=f"id-{index}", metadata={"page": index, "tags": ["a", "b"]})
        for index, text in enumerate(TEXTS)
    ]
