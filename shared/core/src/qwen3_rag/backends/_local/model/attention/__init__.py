"""Attention over sequences of different lengths, without padding."""
