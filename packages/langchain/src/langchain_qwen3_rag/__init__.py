"""Qwen3-Embedding and Qwen3-Reranker for LangChain."""
