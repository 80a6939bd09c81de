"""Sharing of models between callers, and batching of their requests."""
