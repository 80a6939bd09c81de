"""The version of this package, which collections record."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("qwen3-rag-hybrid")
