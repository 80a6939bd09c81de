"""The components for Haystack: those of sentence-transformers-haystack and this project's.

`python -m benchmarks.peers` runs this in each side's environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from haystack import Document
from haystack.utils import ComponentDevice

from benchmarks.peers.probes import Models, Ranking, main


@dataclass(frozen=True)
class HaystackSide:
    """Haystack components; `embedder` makes a document embedder with a vector size."""

    packages: Sequence[str]
    embedder: Callable[[int | None], Any]
    text_embedder: Any
    document_embedder: Any
    ranker: Any

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self.text_embedder.run(text)["embedding"]
        return vector

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return _vectors(self.document_embedder.run(_documents(texts)))

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        documents = _documents(texts)
        if hasattr(self.document_embedder, "run_async"):
            return _vectors(await self.document_embedder.run_async(documents))
        # Haystack's pipelines do the same with a component without `run_async`.
        return _vectors(await asyncio.to_thread(self.document_embedder.run, documents))

    def short_vectors(self, dim: int, texts: Sequence[str]) -> list[list[float]]:
        return _vectors(self.embedder(dim).run(_documents(texts)))

    def rerank(self, query: str, texts: Sequence[str]) -> Ranking:
        found = self.ranker.run(query=query, documents=_documents(texts))["documents"]
        return Ranking(
            [document.meta["place"] for document in found], [document.score for document in found]
        )

    def keeps_inputs(self, query: str, texts: Sequence[str]) -> bool:
        documents = _documents(texts)
        before = deepcopy(documents)
        self.document_embedder.run(documents)
        self.ranker.run(query=query, documents=documents)
        return documents == before

    def queries_apart(self) -> None:
        """Haystack caches documents, not vectors, so the check does not apply."""


def theirs(models: Models) -> HaystackSide:
    """Make the generic classes that are commonly used with Haystack."""
    from haystack_integrations.components.embedders.sentence_transformers import (
        SentenceTransformersDocumentEmbedder,
        SentenceTransformersTextEmbedder,
    )
    from haystack_integrations.components.rankers.sentence_transformers import (
        SentenceTransformersSimilarityRanker,
    )

    same: dict[str, Any] = {
        "device": ComponentDevice.from_str("cpu"),
        "model_kwargs": {"dtype": "float32"},
    }

    def embedder(dim: int | None) -> Any:
        return SentenceTransformersDocumentEmbedder(
            model=models.embedding, truncate_dim=dim, progress_bar=False, **same
        )

    return HaystackSide(
        ("haystack-ai", "sentence-transformers-haystack", "sentence-transformers"),
        embedder,
        SentenceTransformersTextEmbedder(model=models.embedding, progress_bar=False, **same),
        embedder(None),
        SentenceTransformersSimilarityRanker(model=models.reranking, top_k=1000, **same),
    )


def own(models: Models) -> HaystackSide:
    """Make this project's components."""
    from haystack_integrations.components.embedders.qwen3_rag import (
        Qwen3DocumentEmbedder,
        Qwen3TextEmbedder,
    )
    from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker

    same: dict[str, Any] = {"device": "cpu", "dtype": "float32"}

    def embedder(dim: int | None) -> Any:
        return Qwen3DocumentEmbedder(models.embedding, dim=dim, progress_bar=False, **same)

    return HaystackSide(
        ("haystack-ai", "qwen3-rag-haystack"),
        embedder,
        Qwen3TextEmbedder(model=models.embedding, **same),
        embedder(None),
        Qwen3Ranker(models.reranking, top_k=None, **same),
    )


def _documents(texts: Sequence[str]) -> list[Document]:
    return [Document(content=text, meta={"place": place}) for place, text in enumerate(texts)]


def _vectors(result: dict[str, Any]) -> list[list[float]]:
    return [document.embedding for document in result["documents"]]


if __name__ == "__main__":
    main(theirs, own)
