"""Async methods never keep the event loop from running, however slow the model is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking

EMBEDDER = Qwen3Embedder("slow", backend=SlowBackend(dim=8))
RERANKER = Qwen3Reranker("slow", backend=SlowBackend(dim=8))

CALLS: dict[str, Callable[[], Awaitable[object]]] = {
    "aembed_queries": lambda: EMBEDDER.aembed_queries(["a"]),
    "aembed_documents": lambda: EMBEDDER.aembed_documents(["a"]),
    "arank": lambda: RERANKER.arank("a", ["b"]),
    "arank_many": lambda: RERANKER.arank_many(["a"], [["b"]]),
    "ascore": lambda: RERANKER.ascore([("a", "b")]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_the_loop_runs_while_a_slow_model_computes(name: str) -> None:
    await keeps_ticking(CALLS[name]())
