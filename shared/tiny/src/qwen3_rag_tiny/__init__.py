"""Two small trained checkpoints of the Qwen3 architecture, for tests, demos and teaching.

Data only: nothing is imported, loaded or downloaded here.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["embedding_folder", "reranking_folder"]

_HERE = Path(__file__).parent


def embedding_folder() -> Path:
    """The embedding checkpoint's folder."""
    return _HERE / "embedding"


def reranking_folder() -> Path:
    """The reranking checkpoint's folder."""
    return _HERE / "reranking"
