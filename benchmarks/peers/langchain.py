"""The classes for LangChain: those of langchain-huggingface and this project's.

`python -m benchmarks.peers` runs this in each side's environment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings

from benchmarks.peers.probes import Models, Ranking, main


@dataclass(frozen=True)
class LangChainSide:
    """LangChain classes; `embedder` makes embeddings with a vector size."""

    packages: Sequence[str]
    embedder: Callable[[int | None], Embeddings]
    embeddings: Embeddings
    reranker: BaseDocumentCompressor

    def embed_query(self, text: str) -> list[float]:
        return self.embeddings.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return self.embeddings.embed_documents(list(texts))

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return await self.embeddings.aembed_documents(list(texts))

    def short_vectors(self, dim: int, texts: Sequence[str]) -> list[list[float]]:
        return self.embedder(dim).embed_documents(list(texts))

    def rerank(self, query: str, texts: Sequence[str]) -> Ranking:
        found = self.reranker.compress_documents(_documents(texts), query)
        return Ranking(
            [document.metadata["place"] for document in found],
            [document.metadata.get("relevance_score") for document in found],
        )

    def keeps_inputs(self, query: str, texts: Sequence[str]) -> bool:
        documents, strings = _documents(texts), list(texts)
        before = deepcopy(documents)
        self.embeddings.embed_documents(strings)
        self.reranker.compress_documents(documents, query)
        return documents == before and strings == list(texts)

    def queries_apart(self) -> None:
        """LangChain's cache wraps any embeddings class, so the check does not apply."""


def theirs(models: Models) -> LangChainSide:
    """Make the generic classes that are commonly used with LangChain."""
    from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
    from langchain_community.cross_encoders import HuggingFaceCrossEncoder
    from langchain_huggingface import HuggingFaceEmbeddings

    same = {"device": "cpu", "model_kwargs": {"dtype": "float32"}}

    def embedder(dim: int | None) -> Embeddings:
        embeddings: Embeddings = HuggingFaceEmbeddings(
            model_name=models.embedding, model_kwargs={**same, "truncate_dim": dim}
        )
        return embeddings

    encoder = HuggingFaceCrossEncoder(model_name=models.reranking, model_kwargs=same)
    return LangChainSide(
        ("langchain-huggingface", "langchain-classic", "sentence-transformers"),
        embedder,
        embedder(None),
        CrossEncoderReranker(model=encoder, top_n=1000),
    )


def own(models: Models) -> LangChainSide:
    """Make this project's classes."""
    from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank

    def embedder(dim: int | None) -> Embeddings:
        return Qwen3Embeddings(model=models.embedding, dim=dim, device="cpu", dtype="float32")

    return LangChainSide(
        ("langchain-qwen3-rag",),
        embedder,
        embedder(None),
        Qwen3Rerank(model=models.reranking, device="cpu", dtype="float32"),
    )


def _documents(texts: Sequence[str]) -> list[Document]:
    return [
        Document(page_content=text, metadata={"place": place}) for place, text in enumerate(texts)
    ]


if __name__ == "__main__":
    main(theirs, own)
