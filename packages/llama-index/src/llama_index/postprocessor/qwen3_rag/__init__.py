"""Qwen3-Reranker for LlamaIndex."""
