"""Models on stand-ins of Ollama and vendors: the same numbers as here, limits, and wrong uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag_testkit.contracts import TEXTS

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.model_server import ModelServer
from qwen3_rag_testkit.vendor_servers import (
    CohereServer,
    DashScopeServer,
    DeepInfraServer,
    OllamaServer,
    OpenRouterServer,
    SiliconFlowServer,
)

EMBEDDER = qwen3_rag_tiny.embedding_folder()
RERANKER = qwen3_rag_tiny.reranking_folder()
QUERY = "Where is the data stored?"
TASK = "Given a question about a database, find the sentence that answers it"
#: Control tokens can be sent only as other text, and vendors refuse empty texts.
DOCUMENTS = [text for text in TEXTS if text and "<|" not in text]

SERVERS: dict[str, Callable[[], ModelServer]] = {
    "ollama": lambda: OllamaServer(EMBEDDER, api_key="k-1"),
    "dashscope": lambda: DashScopeServer(EMBEDDER, "embedding"),
    "siliconflow": lambda: SiliconFlowServer(EMBEDDER, "embedding"),
    "deepinfra": lambda: DeepInfraServer(EMBEDDER, "embedding"),
    "openrouter": lambda: OpenRouterServer(EMBEDDER, "embedding"),
    "dashscope rerank": lambda: DashScopeServer(RERANKER, "reranking"),
    "siliconflow rerank": lambda: SiliconFlowServer(RERANKER, "reranking"),
    "deepinfra rerank": lambda: DeepInfraServer(RERANKER, "reranking"),
    "openrouter rerank": lambda: OpenRouterServer(RERANKER, "reranking"),
    "cohere rerank": lambda: CohereServer(RERANKER, path="/v2/rerank", strict=True),
}
#: Names of models where the vendor's are not those that were published, or a path has them.
NAMES = {
    "dashscope": "text-embedding-v4",
    "dashscope rerank": "qwen3-rerank",
    "deepinfra rerank": "Qwen/Qwen3-Reranker-0.6B",
}
#: APIs that have no instruction for reranking.
FIXED = ("openrouter rerank", "cohere rerank")


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], ModelServer]]:
    started: dict[str, ModelServer] = {}
    with ExitStack() as stack:

        def start(name: str) -> ModelServer:
            if name not in started:
                started[name] = stack.enter_context(SERVERS[name]())
            return started[name]

        yield start


def remote(server: ModelServer, setup: str, **options: Any) -> Remote:
    """Make the specification for a set-up."""
    api = setup.split()[0]
    path = "/api" if api == "openrouter" else ""
    arguments = {"model": NAMES.get(setup), "api_key": "k-1", "max_retries": 1, **options}
    return Remote(server.url + path, api=api, **arguments)


def model_of(setup: str) -> str:
    return "text-embedding-v4" if setup == "dashscope" else "tiny"


@pytest.mark.parametrize("setup", [name for name in SERVERS if " " not in name])
def test_vectors_are_those_of_the_local_engine(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    with (
        Qwen3Embedder("tiny", dim=512) as here,
        Qwen3Embedder(model_of(setup), dim=512, backend=remote(servers(setup), setup)) as there,
    ):
        for one in (None, TASK):
            ours, theirs = (each.embed_queries([QUERY], instruction=one) for each in (here, there))
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
        ours, theirs = (each.embed_documents(DOCUMENTS * 7) for each in (here, there))

    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("setup", [name for name in SERVERS if " " in name])
def test_probabilities_are_those_of_the_local_engine(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    pairs = [(query, text) for query in (QUERY, "Where is Seoul?") for text in DOCUMENTS]
    with (
        Qwen3Reranker("tiny") as here,
        Qwen3Reranker("tiny", backend=remote(servers(setup), setup)) as there,
    ):
        instructions = (None,) if setup in FIXED else (None, TASK)
        for one in instructions:
            ours, theirs = (each.score(pairs, instruction=one) for each in (here, there))
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4)
        if setup in FIXED:
            with pytest.raises(InputError, match="no other instruction"):
                there.score(pairs, instruction=TASK)
