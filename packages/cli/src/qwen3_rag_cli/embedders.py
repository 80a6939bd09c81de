"""`Embedders`: keeps an embedding model open from one update of an index to the next."""

from __future__ import annotations

from contextlib import ExitStack

from qwen3_rag import Qwen3Embedder
from qwen3_rag.integration import Closing
from qwen3_rag_cli.models import Models

__all__ = ["Embedders"]


class Embedders(Closing):
    """Opens an embedding model, and keeps it open, so that it is loaded once."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._models: Models | None = None
        self._opened = ExitStack()
        self._embedder: Qwen3Embedder | None = None

    def of(self, models: Models) -> Qwen3Embedder:
        """Open the embedding model, unless it is the one that is open."""
        if self._embedder is None or models != self._models:
            self._opened.close()
            self._embedder = self._opened.enter_context(models.embedder())
            self._models = models
        return self._embedder

    def close(self) -> None:
        """Close the model."""
        self._opened.close()
