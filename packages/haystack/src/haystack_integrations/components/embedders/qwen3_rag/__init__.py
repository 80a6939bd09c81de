"""Qwen3-Embedding for Haystack."""
