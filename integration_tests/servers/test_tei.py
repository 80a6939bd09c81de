"""The core's numbers and refusals on a real server of Text Embeddings Inference.

`TEI_BINARY` names its command, `text-embeddings-router`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Backend, Role
from qwen3_rag_testkit.contracts import TEXTS, BackendContract
from qwen3_rag_testkit.model_processes import TEIProcess

EMBEDDER = qwen3_rag_tiny.embedding_folder()
DOCUMENTS = [*TEXTS, "Milvus stores data in object storage.", "word " * 6_000]
TASK = "Given a question about a database, find the sentence that answers it"


def start(**options: Any) -> TEIProcess:
    binary = os.environ.get("TEI_BINARY")
    if not binary:
        pytest.skip("TEI_BINARY names no command of Text Embeddings Inference")
    return TEIProcess(binary, EMBEDDER, **options)


class TestEmbedder(BackendContract):
    tolerance = 1e-5
    role = pytest.fixture(lambda self: "embedding")

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[TEIProcess]:
        with start(api_key="k-1") as server:
            yield server

    @pytest.fixture(autouse=True)
    def _remote(self, server: TEIProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEI_TEST_KEY", "k-1")
        self.remote = Remote(server.url, api_key_env="TEI_TEST_KEY", timeout=300)

    def make_backend(self, role: Role) -> Backend:
        return self.remote.start("tiny", role)

    @pytest.mark.parametrize("dim", [32, 512])
    def test_vectors_cuts_and_counts_are_those_of_the_local_engine(self, dim: int) -> None:
        with (
            Qwen3Embedder("tiny", dim=dim, max_length=512) as here,
            Qwen3Embedder("tiny", dim=dim, max_length=512, backend=self.remote) as there,
        ):
            ours, theirs = (one.embed_documents(DOCUMENTS, details=True) for one in (here, there))
            queries = [one.embed_queries(["Where?"], instruction=TASK) for one in (here, there)]

        exact = [index for index, text in enumerate(DOCUMENTS) if "<|" not in text]
        np.testing.assert_allclose(theirs.vectors[exact], ours.vectors[exact], rtol=0, atol=1e-5)
        np.testing.assert_allclose(queries[1], queries[0], rtol=0, atol=1e-5)
        assert theirs.tokens == ours.tokens
        assert theirs.cut_at == ours.cut_at
        assert ours.cut_at[-1] is not None

    @pytest.mark.parametrize("text", ["word " * 6_000, "東京" * 3_000], ids=["words", "characters"])
    def test_the_longest_input_is_taken(self, text: str) -> None:
        """Also one that is cut within a character, which the server cannot be sent."""
        with Qwen3Embedder("tiny") as here, Qwen3Embedder("tiny", backend=self.remote) as there:
            ours, theirs = (one.embed_documents([text], details=True) for one in (here, there))

        np.testing.assert_allclose(theirs.vectors, ours.vectors, rtol=0, atol=1e-3)
        assert theirs.cut_at == ours.cut_at

    @pytest.mark.parametrize("key", [None, "k-2"])
    def test_a_missing_or_wrong_key_is_an_error_that_names_the_setting(
        self, server: TEIProcess, key: str | None
    ) -> None:
        with (
            Qwen3Embedder("tiny", backend=Remote(server.url, api="tei", api_key=key)) as embedder,
            pytest.raises(BackendError, match="api_key_env"),
        ):
            embedder.warm_up()

    def test_a_reranker_refuses_the_server(self) -> None:
        with (
            Qwen3Reranker("tiny", backend=self.remote) as reranker,
            pytest.raises(BackendError, match="does not run Qwen3-Reranker"),
        ):
            reranker.warm_up()

    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            ({"inputs": [""]}, 400, "Empty"),
            ({"inputs": ["a"] * 33}, 422, "Validation"),
            ({"inputs": ["word " * 6_000], "truncate": False}, 422, "Validation"),
        ],
    )
    def test_refusals_have_the_shape_of_the_stand_in(
        self, server: TEIProcess, body: dict[str, Any], status: int, kind: str
    ) -> None:
        """This fails when the server changes, and with it what the stand-in has to say."""
        headers = {"Authorization": "Bearer k-1"}
        answer = httpx.post(f"{server.url}/embed", json=body, headers=headers, timeout=300)

        assert answer.status_code == status
        assert answer.json()["error_type"] == kind


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"default_prompt": "query: "}, "default prompt"),
        ({"pooling": "mean"}, "pooling is 'mean'.*--pooling last-token"),
    ],
)
def test_a_wrong_set_up_is_refused_with_what_mends_it(options: dict[str, Any], words: str) -> None:
    with (
        start(**options) as server,
        Qwen3Embedder("tiny", backend=Remote(server.url, timeout=300)) as embedder,
        pytest.raises(BackendError, match=words),
    ):
        embedder.warm_up()
