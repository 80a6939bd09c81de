"""The core's numbers and refusals on a real vLLM, from the command that `VLLM_BINARY` names.

vLLM for the CPU needs an environment of its own. A start takes a minute, so that each class has one
server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Backend, Role
from qwen3_rag_testkit.checkpoints import write_checkpoint
from qwen3_rag_testkit.contracts import TEXTS, BackendContract
from qwen3_rag_testkit.model_processes import VLLMProcess

EMBEDDER = qwen3_rag_tiny.embedding_folder()
RERANKER = qwen3_rag_tiny.reranking_folder()
QUERY = "Where is the data stored?"
DOCUMENTS = [*TEXTS, "Milvus stores data in object storage.", "word " * 6_000]
TASK = "Given a question about a database, find the sentence that answers it"
LIMIT = 2_048
"""Longest input of the servers, which is less than the model's."""


def start(checkpoint: Path, role: Role, **options: Any) -> VLLMProcess:
    binary = os.environ.get("VLLM_BINARY")
    if not binary:
        pytest.skip("VLLM_BINARY names no command of vLLM")
    return VLLMProcess(binary, checkpoint, role, limit=LIMIT, **options)


def assert_refused(model: Qwen3Embedder | Qwen3Reranker, words: str) -> None:
    with model, pytest.raises(BackendError, match=words):
        model.warm_up()


class TestEmbedder(BackendContract):
    tolerance = 1e-5
    role = pytest.fixture(lambda self: "embedding")

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[VLLMProcess]:
        with start(EMBEDDER, "embedding", api_key="k-1") as server:
            yield server

    @pytest.fixture(autouse=True)
    def _remote(self, server: VLLMProcess) -> None:
        self.remote = Remote(server.url, api_key_env="VLLM_TEST_KEY")

    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VLLM_TEST_KEY", "k-1")

    def make_backend(self, role: Role) -> Backend:
        return self.remote.start("tiny", role)

    @pytest.mark.parametrize("dim", [32, 64, 512])
    def test_vectors_cuts_and_counts_are_those_of_the_local_engine(self, dim: int) -> None:
        with (
            Qwen3Embedder("tiny", dim=dim, max_length=512) as here,
            Qwen3Embedder("tiny", dim=dim, max_length=512, backend=self.remote) as there,
        ):
            ours, theirs = (one.embed_documents(DOCUMENTS, details=True) for one in (here, there))
            queries = [one.embed_queries([QUERY], instruction=TASK) for one in (here, there)]

            assert here.warm_up().fingerprint == there.warm_up().fingerprint
        np.testing.assert_allclose(theirs.vectors, ours.vectors, rtol=0, atol=1e-5)
        np.testing.assert_allclose(queries[1], queries[0], rtol=0, atol=1e-5)
        assert theirs.tokens == ours.tokens
        assert theirs.cut_at == ours.cut_at
        assert ours.cut_at[-1] is not None

    def test_the_longest_input_is_that_of_the_server(self) -> None:
        text = "word " * 6_000
        with (
            Qwen3Embedder("tiny", max_length=LIMIT) as here,
            Qwen3Embedder("tiny", max_length=4_096, backend=self.remote) as there,
        ):
            ours, theirs = (one.embed_documents([text], details=True) for one in (here, there))

        np.testing.assert_allclose(theirs.vectors, ours.vectors, rtol=0, atol=1e-5)
        assert theirs.tokens == ours.tokens == (LIMIT,)

    @pytest.mark.parametrize("key", [None, "k-2"])
    def test_a_missing_or_wrong_key_is_an_error_that_names_the_setting(
        self, server: VLLMProcess, key: str | None
    ) -> None:
        remote = Remote(server.url, api_key=key)

        assert_refused(Qwen3Embedder("tiny", backend=remote), "api_key_env")

    def test_a_reranker_refuses_the_server(self) -> None:
        reranker = Qwen3Reranker("tiny", backend=self.remote)

        assert_refused(reranker, "as an embedding model.*--runner generate")

    def test_the_server_refuses_a_shorter_size(self, server: VLLMProcess) -> None:
        """So that vectors are cut here; this fails when vLLM changes."""
        body = {"model": "served", "input": "a", "dimensions": 64}

        answer = httpx.post(
            f"{server.url}/v1/embeddings", json=body, headers={"Authorization": "Bearer k-1"}
        )

        assert answer.status_code == 400
        assert "does not support Matryoshka" in answer.text


class RerankerContract(BackendContract):
    """What a server that reranks gets right in each of three set-ups."""

    tolerance = 1e-5
    role = pytest.fixture(lambda self: "reranking")
    #: Whether only texts can be sent, in which control tokens are changed.
    texts_only = False
    longest = LIMIT

    @pytest.fixture(autouse=True)
    def _url(self, server: VLLMProcess) -> None:
        self.url = server.url

    def make_backend(self, role: Role) -> Backend:
        return Remote(self.url).start("tiny", role)

    def test_a_prefix_replaces_the_text_before_queries_and_documents(self) -> None:
        pytest.skip("embedders alone have a prefix")

    @pytest.mark.parametrize("instruction", [None, TASK])
    def test_probabilities_and_cuts_are_those_of_the_local_engine(
        self, instruction: str | None
    ) -> None:
        with (
            Qwen3Reranker("tiny", max_length=512) as here,
            Qwen3Reranker("tiny", max_length=512, backend=Remote(self.url)) as there,
        ):
            ours, theirs = (
                one.score(
                    [(QUERY, text) for text in DOCUMENTS], instruction=instruction, details=True
                )
                for one in (here, there)
            )

        exact = [
            index for index, text in enumerate(DOCUMENTS) if not self.texts_only or "<|" not in text
        ]
        np.testing.assert_allclose(
            np.asarray(theirs.scores)[exact], np.asarray(ours.scores)[exact], rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(theirs.scores, ours.scores, rtol=0, atol=0.05)
        assert theirs.cut_at == ours.cut_at
        assert ours.cut_at[-1] is not None

    def test_the_longest_pair_keeps_its_end(self) -> None:
        pair = (QUERY, "word " * 6_000)
        with (
            Qwen3Reranker("tiny", max_length=self.longest) as here,
            Qwen3Reranker("tiny", max_length=4_096, backend=Remote(self.url)) as there,
        ):
            ours, theirs = (one.score([pair], details=True) for one in (here, there))

        np.testing.assert_allclose(theirs.scores, ours.scores, rtol=0, atol=1e-4)
        assert theirs.cut_at == ours.cut_at

    @pytest.mark.parametrize("limit", [130, 131, 132])
    def test_a_document_may_be_cut_within_a_character(self, limit: int) -> None:
        pair = (QUERY, "東京" * 300)
        with (
            Qwen3Reranker("tiny", max_length=limit) as here,
            Qwen3Reranker("tiny", max_length=limit, backend=Remote(self.url)) as there,
        ):
            ours, theirs = (one.score([pair], details=True) for one in (here, there))

        tolerance = 0.05 if self.texts_only else 1e-4
        np.testing.assert_allclose(theirs.scores, ours.scores, rtol=0, atol=tolerance)
        assert theirs.cut_at == ours.cut_at

    def test_an_embedder_refuses_the_server(self) -> None:
        embedder = Qwen3Embedder("tiny", backend=Remote(self.url))

        assert_refused(embedder, "--runner pooling")


class TestUnchangedReranker(RerankerContract):
    longest = LIMIT - 1  # the server generates a token

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[VLLMProcess]:
        with start(RERANKER, "reranking") as server:
            yield server


class TestRerankerWithTemplate(RerankerContract):
    texts_only = True

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[VLLMProcess]:
        with start(RERANKER, "reranking", runner="classify") as server:
            yield server


class TestRerankerWithoutTemplate(RerankerContract):
    texts_only = True

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[VLLMProcess]:
        with start(RERANKER, "reranking", runner="classify", template=None) as server:
            yield server


def test_a_template_that_ignores_the_instruction_is_refused() -> None:
    """As that of the checkpoint is, which reads it from another place."""
    template = (RERANKER / "chat_template.jinja").read_text()
    with start(RERANKER, "reranking", runner="classify", template=template) as server:
        reranker = Qwen3Reranker("tiny", backend=Remote(server.url))

        assert_refused(reranker, "ignores instructions.*--chat-template")


def test_a_reranker_that_is_served_for_its_vectors_is_refused(tmp_path: Path) -> None:
    """As long as the embedder's, as are those of the real pair."""
    reranker = write_checkpoint(tmp_path / "reranker", "reranking", config={"head_dim": 32})
    embedder = write_checkpoint(tmp_path / "embedder", "embedding", config={"head_dim": 32})
    with start(reranker, "reranking", runner="embed") as server:
        assert_refused(Qwen3Embedder(embedder, backend=Remote(server.url)), "runs a reranker")
        assert_refused(Qwen3Reranker(reranker, backend=Remote(server.url)), "--runner generate")
