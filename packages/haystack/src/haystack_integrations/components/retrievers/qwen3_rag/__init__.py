"""Hybrid retrieval for Haystack."""
