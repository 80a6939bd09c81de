"""Qwen3-Reranker for Haystack."""
