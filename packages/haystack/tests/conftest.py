"""Documents, and components over models that need no torch."""

from __future__ import annotations

import os

# Before Haystack is first imported: its usage statistics are not for tests.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import pytest
from haystack import Document

import qwen3_rag_tiny
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend


@pytest.fixture
def embedder() -> Qwen3Embedder:
    """One whose numbers change with any character of the prompt."""
    return Qwen3Embedder("test/embedder", backend=DeterministicBackend("embedding"))


@pytest.fixture
def reranker() -> Qwen3Reranker:
    """One whose numbers change with any character of the prompt."""
    return Qwen3Reranker("test/reranker", backend=DeterministicBackend("reranking"))


@pytest.fixture
def text_reranker() -> Qwen3Reranker:
    """One that finds texts that share words."""
    return Qwen3Reranker("test/reranker", backend=TextBackend("reranking"))


@pytest.fixture
def loaded_embedder() -> Qwen3Embedder:
    """An embedder around a model that the caller loaded."""
    from transformers import AutoModel, AutoTokenizer

    folder = qwen3_rag_tiny.embedding_folder()
    return Qwen3Embedder.from_model(
        AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), dim=64
    )


@pytest.fixture
def documents() -> list[Document]:
    """Documents in several scripts, with newlines, metadata and scores."""
    return [
        Document(content="Paris is the capital of France.", meta={"country": "France"}, score=0.2),
        Document(content="def main():\n\treturn 1\n", meta={"language": "python"}),
        Document(content="東京は日本の首都です。", meta={"country": "日本", "rank": 0}, score=0.9),
        Document(content="", meta={"country": None}),
        Document(id="given", content="  naïve \u2028 🦊  ", score=-1.0),
    ]
