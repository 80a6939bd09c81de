"""Qwen3 embedding, reranking and hybrid search over HTTP."""

from __future__ import annotations

from qwen3_rag_server.app import make_app
from qwen3_rag_server.models import Served
from qwen3_rag_server.running import RunningServer
from qwen3_rag_server.settings import Settings
from qwen3_rag_server.version import VERSION

__version__ = VERSION

__all__ = ["RunningServer", "Served", "Settings", "make_app"]
