"""Qwen3-Embedding for LlamaIndex."""
