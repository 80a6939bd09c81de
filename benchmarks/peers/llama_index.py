"""The classes for LlamaIndex: its Hugging Face classes and this project's.

`python -m benchmarks.peers` runs this in each side's environment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from benchmarks.peers.probes import QUERY, Models, Ranking, cosine, main

# The prompt that the model card puts before a query.
INSTRUCTION = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)


@dataclass(frozen=True)
class LlamaIndexSide:
    """LlamaIndex classes.

    `embedder` makes an embedding model with a vector size. `cached` makes one with a cache and an
    instruction, so that its queries differ from its documents.
    """

    packages: Sequence[str]
    embedder: Callable[[int | None], BaseEmbedding]
    cached: Callable[[], BaseEmbedding]
    embedding: BaseEmbedding
    reranker: BaseNodePostprocessor

    def embed_query(self, text: str) -> list[float]:
        return self.embedding.get_query_embedding(text)

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return self.embedding.get_text_embedding_batch(list(texts))

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return await self.embedding.aget_text_embedding_batch(list(texts))

    def short_vectors(self, dim: int, texts: Sequence[str]) -> list[list[float]]:
        return self.embedder(dim).get_text_embedding_batch(list(texts))

    def rerank(self, query: str, texts: Sequence[str]) -> Ranking:
        found = self.reranker.postprocess_nodes(_nodes(texts), query_str=query)
        return Ranking(
            [int(node.node_id) for node in found],
            [None if node.score is None else float(node.score) for node in found],
        )

    def keeps_inputs(self, query: str, texts: Sequence[str]) -> bool:
        # LlamaIndex itself stores vectors in nodes, so only the reranker is checked.
        nodes = _nodes(texts)
        before = [node.model_dump() for node in nodes]
        self.reranker.postprocess_nodes(nodes, query_str=query)
        return [node.model_dump() for node in nodes] == before

    def queries_apart(self) -> bool:
        embedding = self.cached()
        document = embedding.get_text_embedding(QUERY)
        return cosine(embedding.get_query_embedding(QUERY), document) < 0.999


def theirs(models: Models) -> LlamaIndexSide:
    """Make the generic classes that are commonly used with LlamaIndex."""
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.postprocessor.sbert_rerank import SentenceTransformerRerank

    same = {"dtype": "float32"}

    def embedder(dim: int | None, instruction: str | None = None) -> BaseEmbedding:
        embedding: BaseEmbedding = HuggingFaceEmbedding(
            model_name=models.embedding,
            device="cpu",
            query_instruction=instruction,
            truncate_dim=dim,
            model_kwargs=same,
        )
        return embedding

    def cached() -> BaseEmbedding:
        embedding = embedder(None, INSTRUCTION)
        embedding.embeddings_cache = SimpleKVStore()
        return embedding

    return LlamaIndexSide(
        (
            "llama-index-core",
            "llama-index-embeddings-huggingface",
            "llama-index-postprocessor-sbert-rerank",
            "sentence-transformers",
        ),
        embedder,
        cached,
        embedder(None),
        SentenceTransformerRerank(
            model=models.reranking,
            device="cpu",
            top_n=1000,
            cross_encoder_kwargs={"model_kwargs": same},
        ),
    )


def own(models: Models) -> LlamaIndexSide:
    """Make this project's classes."""
    from llama_index.embeddings.qwen3_rag import Qwen3Embedding
    from llama_index.postprocessor.qwen3_rag import Qwen3Rerank

    def embedder(dim: int | None) -> BaseEmbedding:
        return Qwen3Embedding(model_name=models.embedding, dim=dim, device="cpu", dtype="float32")

    def cached() -> BaseEmbedding:
        return Qwen3Embedding(
            model_name=models.embedding,
            device="cpu",
            dtype="float32",
            embeddings_cache=SimpleKVStore(),
        )

    return LlamaIndexSide(
        ("llama-index-core", "llama-index-qwen3-rag"),
        embedder,
        cached,
        embedder(None),
        Qwen3Rerank(model=models.reranking, device="cpu", dtype="float32", top_n=None),
    )


def _nodes(texts: Sequence[str]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(place)), score=0.5)
        for place, text in enumerate(texts)
    ]


if __name__ == "__main__":
    main(theirs, own)
