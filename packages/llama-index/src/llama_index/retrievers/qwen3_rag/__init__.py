"""Hybrid retrieval for LlamaIndex."""
