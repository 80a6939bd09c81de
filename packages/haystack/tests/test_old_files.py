"""Pipelines and documents that were saved under former names are read."""

from __future__ import annotations

from typing import Any

from haystack import Document, Pipeline
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
from qwen3_rag_testkit.backends import TextBackend

# As `Pipeline.dumps` wrote it before components took a backend.
OLD = r"""
components:
  documents:
    init_parameters:
      attention: null
      batch_tokens: null
      cache_folder: null
      compile: false
      device: null
      dim: 64
      dtype: float32
      embedding_separator: '

        '
      local_files_only: false
      max_length: null
      meta_fields_to_embed:
      - title
      model: tiny
      model_kwargs: null
      progress_bar: true
      revision: null
      token:
        env_vars:
        - HF_API_TOKEN
        - HF_TOKEN
        strict: false
        type: env_var
    type: haystack_integrations.components.embedders.qwen3_rag.document_embedder.Qwen3DocumentEmbedder
  query_terms:
    init_parameters: {}
    type: haystack_integrations.components.embedders.qwen3_rag.lexical_embedders.LexicalSparseTextEmbedder
  retriever:
    init_parameters:
      candidates: 100
      document_store:
        init_parameters:
          bm25_algorithm: BM25L
          bm25_parameters: {}
          embedding_similarity_function: dot_product
          index: laws
          return_embedding: true
        type: haystack.document_stores.in_memory.document_store.InMemoryDocumentStore
      filter_policy: replace
      filters: null
      fusion: rrf
      instruction: null
      k: 60
      ranker:
        init_parameters:
          attention: null
          batch_tokens: null
          cache_folder: null
          compile: false
          device: cpu
          dtype: null
          embedding_separator: '

            '
          instruction: Given a web search query, retrieve relevant passages that answer
            the query
          local_files_only: false
          max_document_tokens: null
          max_length: null
          max_query_tokens: null
          meta_fields_to_embed: []
          model: tiny
          model_kwargs: null
          progress_bar: false
          revision: null
          scale_score: true
          score_threshold: null
          token:
            env_vars:
            - HF_API_TOKEN
            - HF_TOKEN
            strict: false
            type: env_var
          top_k: 10
        type: haystack_integrations.components.rankers.qwen3_rag.ranker.Qwen3Ranker
      rerank_depth: 50
      text_embedder:
        init_parameters:
          attention: null
          batch_tokens: null
          cache_folder: null
          compile: false
          device: null
          dim: 64
          dtype: null
          instruction: Given a web search query, retrieve relevant passages that answer
            the query
          local_files_only: false
          max_length: null
          model: tiny
          model_kwargs:
            use_cache: false
          revision: null
          token:
            env_vars:
            - HF_API_TOKEN
            - HF_TOKEN
            strict: false
            type: env_var
        type: haystack_integrations.components.embedders.qwen3_rag.text_embedder.Qwen3TextEmbedder
      top_k: 10
      weights:
        dense: 0.5
        lexical: 2.0
    type: haystack_integrations.components.retrievers.qwen3_rag.hybrid_retriever.Qwen3HybridRetriever
  terms:
    init_parameters:
      avg_len: 20.0
      b: 0.75
      embedding_separator: '

        '
      k1: 1.2
      meta_fields_to_embed: []
    type: haystack_integrations.components.embedders.qwen3_rag.lexical_embedders.LexicalSparseDocumentEmbedder
connection_type_validation: true
connections:
- receiver: terms.documents
  sender: documents.documents
max_runs_per_component: 100
metadata: {}
"""  # noqa: E501  # the names of the types are that long


def test_an_old_pipeline_is_read_run_and_written_with_the_present_names() -> None:
    pipeline = Pipeline.loads(OLD)

    terms, query_terms = (pipeline.get_component(name) for name in ("terms", "query_terms"))
    assert type(terms) is BM25SparseDocumentEmbedder
    assert terms.avg_len == 20.0
    assert type(query_terms) is BM25SparseTextEmbedder
    retriever: Any = pipeline.get_component("retriever")
    assert retriever.weights == {"dense": 0.5, "bm25": 2.0}
    assert retriever.text_embedder.backend is None
    assert retriever.text_embedder.model_kwargs == {"use_cache": False}
    assert retriever.ranker.device == "cpu"
    text = pipeline.dumps()
    assert "lexical" not in text.lower()
    assert Pipeline.loads(text).dumps() == text

    made = pipeline.run(
        {
            "documents": {"documents": [Document(content="Paris is the capital of France.")]},
            "query_terms": {"text": "Paris"},
            "retriever": {"query": "Paris"},
        }
    )
    [document] = made["terms"]["documents"]
    assert len(document.embedding) == 64
    [term] = made["query_terms"]["sparse_embedding"].indices
    assert term in document.sparse_embedding.indices
    pipeline.close()


def test_documents_with_the_ranks_of_an_old_search_get_those_of_the_new_one() -> None:
    store = InMemoryDocumentStore()
    old = {"page": 1, "search_legs": {"lexical": {"rank": 1, "score": 3.0}}}
    store.write_documents([Document(id="a", content="Paris", meta=old, embedding=[1.0] * 64)])
    embedder = Qwen3TextEmbedder("m", backend=TextBackend(dim=64))

    [found] = Qwen3HybridRetriever(store, embedder).run("Paris")["documents"]

    assert found.meta.keys() == {"page", "search_ranks"}
    assert found.meta["search_ranks"].keys() == {"dense", "bm25", "fused"}
