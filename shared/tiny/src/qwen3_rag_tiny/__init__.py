"""Two small trained checkpoints of the Qwen3 architecture, for tests, demos and teaching.

The package contains data and the paths to it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["embedding_folder", "reranking_folder"]

_HERE = Path(__file__).parent


def embedding_folder() -> Path:
    """Return the folder of the embedding checkpoint."""
    return _HERE / "embedding"


def reranking_folder() -> Path:
    """Return the folder of the reranking checkpoint."""
    return _HERE / "reranking"
