"""The version of this package: what a collection records."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("qwen3-rag-hybrid")
