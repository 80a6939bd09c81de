"""The version of this package, which the server tells."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("qwen3-rag-server")
