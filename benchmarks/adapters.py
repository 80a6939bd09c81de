"""Measures the overhead of each adapter per document, with a backend that computes almost nothing.

    python benchmarks/adapters.py [--documents 2000] [--json FILE]

The model class and the adapter around it run alternately in this process. The result is the
difference of the medians, in microseconds per document. Vectors have 1,024 dimensions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # before Haystack is first imported

from haystack import Document as HaystackDocument
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeWithScore, TextNode

from haystack_integrations.components.embedders.qwen3_rag import Qwen3DocumentEmbedder
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from langchain_qwen3_rag import Qwen3Embeddings
from langchain_qwen3_rag import Qwen3Rerank as LangChainRerank
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank as LlamaIndexRerank
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_testkit.backends import DeterministicBackend

ROUNDS = 7
QUERY = "what is it?"


def overheads(texts: list[str]) -> dict[str, float]:
    """Measure all adapters; the result is in microseconds per document, by name."""
    embedder = Qwen3Embedder("any", backend=DeterministicBackend(dim=1_024))
    reranker = Qwen3Reranker("any", backend=DeterministicBackend())
    langchain = [LangChainDocument(page_content=text) for text in texts]
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
    haystack = [HaystackDocument(content=text) for text in texts]
    embeddings = Qwen3Embeddings.from_embedder(embedder)
    embedding = Qwen3Embedding.from_embedder(embedder)
    document_embedder = Qwen3DocumentEmbedder.from_embedder(embedder, progress_bar=False)
    compressor = LangChainRerank.from_reranker(reranker)
    postprocessor = LlamaIndexRerank.from_reranker(reranker, top_n=len(texts))
    ranker = Qwen3Ranker.from_reranker(reranker, top_k=len(texts))
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "LangChain, embedding": (
            lambda: embedder.embed_documents(texts),
            lambda: embeddings.embed_documents(texts),
        ),
        "LlamaIndex, embedding": (
            lambda: embedder.embed_documents(texts),
            lambda: embedding.get_text_embedding_batch(texts),
        ),
        "Haystack, embedding": (
            lambda: embedder.embed_documents(texts),
            lambda: document_embedder.run(haystack),
        ),
        "LangChain, reranking": (
            lambda: reranker.rank(QUERY, texts),
            lambda: compressor.compress_documents(langchain, QUERY),
        ),
        "LlamaIndex, reranking": (
            lambda: reranker.rank(QUERY, texts),
            lambda: postprocessor.postprocess_nodes(nodes, query_str=QUERY),
        ),
        "Haystack, reranking": (
            lambda: reranker.rank(QUERY, texts),
            lambda: ranker.run(query=QUERY, documents=haystack),
        ),
    }
    return {name: _overhead(*pair) / len(texts) * 1e6 for name, pair in pairs.items()}


def _overhead(core: Callable[[], object], adapter: Callable[[], object]) -> float:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side, call in zip(seconds, (core, adapter), strict=True):
            start = time.perf_counter()
            call()
            side.append(time.perf_counter() - start)
    return statistics.median(seconds[1]) - statistics.median(seconds[0])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Overhead of the adapters per document.")
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = overheads([f"document {i}" for i in range(options.documents)])
    print("| adapter | microseconds per document |\n|---|---|")
    for name, value in result.items():
        print(f"| {name} | {value:.1f} |")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
