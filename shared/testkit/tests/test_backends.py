from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Backend, EmbedPrompt, Limits, Role
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.contracts import BackendContract, EmbedderContract, RerankerContract


class TestDeterministicBackend(BackendContract):
    def make_backend(self, role: Role) -> Backend:
        return DeterministicBackend().start("any", role)


class TestTextBackend(BackendContract):
    def make_backend(self, role: Role) -> Backend:
        return TextBackend().start("any", role)


class TestEmbedderOverDeterministicBackend(EmbedderContract):
    def make_embedder(self, **settings: Any) -> Qwen3Embedder:
        return Qwen3Embedder("any", backend=DeterministicBackend("embedding"), **settings)


class TestEmbedderOverTextBackend(EmbedderContract):
    def make_embedder(self, **settings: Any) -> Qwen3Embedder:
        return Qwen3Embedder("any", backend=TextBackend("embedding"), **settings)


class TestRerankerOverDeterministicBackend(RerankerContract):
    def make_reranker(self, **settings: Any) -> Qwen3Reranker:
        return Qwen3Reranker("any", backend=DeterministicBackend("reranking"), **settings)


class TestRerankerOverTextBackend(RerankerContract):
    tolerance = 1e-6

    def make_reranker(self, **settings: Any) -> Qwen3Reranker:
        return Qwen3Reranker("any", backend=TextBackend("reranking"), **settings)


def test_deterministic_numbers_are_the_same_in_another_process() -> None:
    code = (
        "from qwen3_rag.backends import EmbedPrompt, Limits\n"
        "from qwen3_rag_testkit.backends import DeterministicBackend\n"
        "backend = DeterministicBackend(dim=4).start('any', 'embedding')\n"
        "print(backend.run([EmbedPrompt('a')], Limits()).result().values[0].tolist())"
    )

    here = DeterministicBackend(dim=4).start("any", "embedding")
    expected = here.run([EmbedPrompt("a")], Limits()).result().values
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert json.loads(there.stdout) == expected[0].tolist()


def test_deterministic_backend_truncates_and_reports_it() -> None:
    with Qwen3Embedder("any", max_length=64, backend=DeterministicBackend("embedding")) as embedder:
        result = embedder.embed_documents(["a" * 100, "a"], details=True)

    assert result.cut_at == (63, None)
    assert result.tokens == (64, 2)


def test_text_backend_ranks_the_text_with_common_words_first() -> None:
    texts = ["Paris is the capital of France.", "Bananas are yellow.", "Gravity pulls."]
    with Qwen3Embedder("any", backend=TextBackend("embedding")) as embedder:
        query = embedder.embed_queries(["what is the capital of France"])
        documents = embedder.embed_documents(texts)
    with Qwen3Reranker("any", backend=TextBackend("reranking")) as reranker:
        best = reranker.rank("what is the capital of France", texts)[0]

    assert int(np.argmax(query @ documents.T)) == 0
    assert best.index == 0


def test_testkit_backends_need_no_torch() -> None:
    code = (
        "import sys, qwen3_rag_testkit.backends, qwen3_rag_testkit.golden\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
