"""How fast the models run on this machine, in a few seconds.

Knows clocks and a text to read; knows nothing of indexes.
"""

from __future__ import annotations

import time
from typing import Any

from qwen3_rag_cli.models import Models

__all__ = ["embedding_speed", "reranking_speed"]

# About 100 tokens of plain English, as a chunk of documentation has it.
PARAGRAPH = (
    "The index is brought up to date in small steps. Each step notes what is about to change, "
    "writes the vectors, and notes that they are there. When the machine stops in between, the "
    "next run finds the note and does the step again, so that nothing is lost and nothing is "
    "there twice. Files that did not change are not read by the model again, because their "
    "digests and the settings they were cut with are kept beside the vectors. "
)
QUERY = "What happens to the index when the machine stops?"

SECONDS = 2.0
FIRST, MOST = 4, 256


def embedding_speed(models: Models) -> dict[str, Any]:
    """Give tokens per second, from about two seconds of work."""
    with models.embedder() as embedder:
        embedder.embed_documents(_documents(FIRST))  # loads, and warms up caches
        start = time.perf_counter()
        embedder.embed_documents(_documents(FIRST))
        once = time.perf_counter() - start
        count = min(max(int(FIRST * SECONDS / max(once, 1e-6)), FIRST), MOST)
        start = time.perf_counter()
        details = embedder.embed_documents(_documents(count), details=True)
        seconds = time.perf_counter() - start
    tokens = sum(details.tokens or ())
    return {"embedding, tokens per second": tokens / seconds}


def reranking_speed(models: Models, documents: int) -> dict[str, Any]:
    """Give the seconds that one query over `documents` paragraphs takes."""
    with models.reranker() as reranker:
        reranker.rank(QUERY, _documents(min(documents, FIRST)))
        start = time.perf_counter()
        reranker.rank(QUERY, _documents(documents))
        seconds = time.perf_counter() - start
    return {f"reranking {documents} documents, seconds per query": seconds}


def _documents(count: int) -> list[str]:
    """Texts that differ from the first word on, so that nothing is computed once for all."""
    return [f"{number}. {PARAGRAPH}" for number in range(count)]
