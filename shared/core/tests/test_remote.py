"""Models on a llama.cpp server: the same numbers as here, faults, wrong servers, secrets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import (
    BackendError,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
    Remote,
)
from qwen3_rag.backends import Backend, Role
from qwen3_rag_testkit.contracts import TEXTS, BackendContract
from qwen3_rag_testkit.faulty_proxy import FaultyProxy

pytest.importorskip("xllamacpp", reason="llama.cpp's server is not installed")
pytest.importorskip("gguf", reason="the writer of llama.cpp's files is not installed")

from qwen3_rag_testkit.llama_cpp import LlamaCppServer, write_gguf

QUERY = "Where is the data stored?"
DOCUMENTS = [*TEXTS, "Milvus stores data in object storage.", "word " * 6_000]


def folder(role: Role) -> Path:
    return getattr(qwen3_rag_tiny, f"{role}_folder")()  # type: ignore[no-any-return]  # untyped name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("gguf")
    made: dict[str, Path] = {}
    roles: tuple[Role, Role] = ("embedding", "reranking")
    for role in roles:
        made[role] = base / f"{role}.gguf"
        write_gguf(folder(role), made[role], role)
    made["no end"] = base / "no-end.gguf"
    write_gguf(folder("embedding"), made["no end"], "embedding", end_token=False)
    return made


@pytest.fixture(scope="module")
def embedding_server(files: dict[str, Path]) -> Iterator[LlamaCppServer]:
    with LlamaCppServer(files["embedding"], "embedding") as server:
        yield server


@pytest.fixture(scope="module")
def reranking_server(files: dict[str, Path]) -> Iterator[LlamaCppServer]:
    with LlamaCppServer(files["reranking"], "reranking") as server:
        yield server


def make(role: Role, remote: Remote) -> Qwen3Embedder | Qwen3Reranker:
    kind = Qwen3Embedder if role == "embedding" else Qwen3Reranker
    return kind("tiny", backend=remote)


def compute(model: Qwen3Embedder | Qwen3Reranker, texts: list[str]) -> Any:
    if isinstance(model, Qwen3Embedder):
        return model.embed_documents(texts)
    return model.score([(QUERY, text) for text in texts])


class TestContract(BackendContract):
    tolerance = 1e-4

    @pytest.fixture(autouse=True)
    def servers(self, embedding_server: LlamaCppServer, reranking_server: LlamaCppServer) -> None:
        self.urls = {"embedding": embedding_server.url, "reranking": reranking_server.url}

    def make_backend(self, role: Role) -> Backend:
        return Remote(self.urls[role]).start("tiny", role)

    def test_the_instruction_matters(self, backend: Backend, role: Role) -> None:
        if role == "reranking":
            pytest.skip("llama.cpp has one instruction, in the model's file")
        super().test_the_instruction_matters(backend, role)


def test_vectors_cuts_and_counts_are_those_of_the_local_engine(
    embedding_server: LlamaCppServer,
) -> None:
    with (
        Qwen3Embedder("tiny", max_length=512) as here,
        Qwen3Embedder("tiny", max_length=512, backend=Remote(embedding_server.url)) as there,
    ):
        ours, theirs = (one.embed_documents(DOCUMENTS, details=True) for one in (here, there))
        queries = [one.embed_queries([QUERY], instruction="Find code") for one in (here, there)]

        assert here.warm_up().fingerprint == there.warm_up().fingerprint
    assert np.einsum("ij,ij->i", ours.vectors, theirs.vectors).min() > 0.99999
    assert (queries[0] @ queries[1].T).item() > 0.99999
    assert theirs.tokens == ours.tokens
    assert theirs.cut_at == ours.cut_at
    assert ours.cut_at[-1] is not None


def test_scores_and_cuts_are_those_of_the_local_engine(reranking_server: LlamaCppServer) -> None:
    with (
        Qwen3Reranker("tiny", max_length=512) as here,
        Qwen3Reranker("tiny", max_length=512, backend=Remote(reranking_server.url)) as there,
    ):
        ours, theirs = (
            one.score([(QUERY, text) for text in DOCUMENTS], details=True) for one in (here, there)
        )

    # A text with control tokens, which can be sent only as other text, differs a little.
    plain = [index for index, text in enumerate(DOCUMENTS) if "<|" not in text]
    np.testing.assert_allclose(
        np.asarray(theirs.scores)[plain], np.asarray(ours.scores)[plain], atol=1e-3
    )
    np.testing.assert_allclose(theirs.scores, ours.scores, atol=0.05)
    assert theirs.cut_at == ours.cut_at


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_the_longest_input_is_that_of_the_server(
    embedding_server: LlamaCppServer, reranking_server: LlamaCppServer, role: Role
) -> None:
    server = embedding_server if role == "embedding" else reranking_server
    kind = Qwen3Embedder if role == "embedding" else Qwen3Reranker
    with (
        kind("tiny", max_length=4_095) as here,
        kind("tiny", max_length=4_096, backend=Remote(server.url)) as there,
    ):
        ours, theirs = (compute(one, ["word " * 6_000]) for one in (here, there))

    np.testing.assert_allclose(theirs, ours, atol=1e-3)


def test_async_calls_give_the_same_numbers(embedding_server: LlamaCppServer) -> None:
    embedder = Qwen3Embedder("tiny", backend=Remote(embedding_server.url))

    async def embed() -> list[Any]:
        return await asyncio.gather(*[embedder.aembed_documents([text]) for text in TEXTS])

    rows = np.concatenate(asyncio.run(embed()))

    np.testing.assert_allclose(rows, embedder.embed_documents(TEXTS), atol=1e-5)
    embedder.close()


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize(
    ("requests", "share"), [(60, 0.4), pytest.param(1_000, 0.1, marks=pytest.mark.slow)]
)
def test_broken_answers_lose_nothing_and_nothing_is_sent_again_after_success(
    embedding_server: LlamaCppServer,
    reranking_server: LlamaCppServer,
    role: Role,
    requests: int,
    share: float,
) -> None:
    server = embedding_server if role == "embedding" else reranking_server
    texts = [f"text number {number}" for number in range(2 * requests)]
    with make(role, Remote(server.url)) as direct:
        expected = compute(direct, texts)

    with (
        FaultyProxy(server.url, share=share) as proxy,
        make(role, Remote(proxy.url, batch_size=2, max_retries=10)) as model,
    ):
        model.warm_up()
        proxy.seen.clear()
        found = compute(model, texts)

    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(proxy.broken) >= 8
    assert set(proxy.seen.values()) == {1}
    assert len(proxy.seen) == requests


@pytest.mark.parametrize(
    ("requests", "kills"), [(100, 1), pytest.param(1_000, 5, marks=pytest.mark.slow)]
)
def test_a_server_that_is_killed_and_started_again_loses_nothing(
    files: dict[str, Path], requests: int, kills: int
) -> None:
    texts = [f"text number {number}" for number in range(2 * requests)]
    with LlamaCppServer(files["embedding"], "embedding") as server:
        remote = Remote(server.url, batch_size=2, max_retries=12)
        with Qwen3Embedder("tiny", backend=remote) as embedder:
            expected = embedder.embed_documents(texts)

            def kill_and_start() -> None:
                for _ in range(kills):
                    time.sleep(0.2)
                    server.kill()
                    server.start()

            restarts = threading.Thread(target=kill_and_start)
            restarts.start()
            found = [embedder.embed_documents(texts)]
            while restarts.is_alive():  # this machine is faster than the restarts
                found.append(embedder.embed_documents(texts))

    for vectors in found:
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_a_server_that_stays_away_ends_in_an_error_that_names_the_texts(
    files: dict[str, Path],
) -> None:
    texts = [f"text number {number}" for number in range(50)]
    with LlamaCppServer(files["embedding"], "embedding") as server:
        remote = Remote(server.url, batch_size=10, max_retries=1)
        with Qwen3Embedder("tiny", backend=remote) as embedder:
            embedder.warm_up()
            server.kill()
            started = time.monotonic()

            with pytest.raises(BackendError, match=r"prompts \d+ to \d+ of 50"):
                embedder.embed_documents(texts)

            assert time.monotonic() - started < 30


def test_an_embedder_refuses_a_reranking_server_of_its_own_size(tmp_path: Path) -> None:
    write_gguf(folder("embedding"), tmp_path / "reranker.gguf", "reranking")
    with LlamaCppServer(tmp_path / "reranker.gguf", "reranking") as server:
        embedder = Qwen3Embedder("tiny", backend=Remote(server.url))

        with pytest.raises(BackendError, match=r"runs a reranker.*--pooling last"):
            embedder.warm_up()


def test_a_reranker_refuses_an_embedding_server(embedding_server: LlamaCppServer) -> None:
    reranker = Qwen3Reranker("tiny", backend=Remote(embedding_server.url))

    with pytest.raises(BackendError, match="does not support reranking"):
        reranker.warm_up()


def test_an_instruction_that_the_server_would_ignore_is_an_error(
    reranking_server: LlamaCppServer,
) -> None:
    reranker = Qwen3Reranker("tiny", backend=Remote(reranking_server.url))

    with pytest.raises(InputError, match=r"no other instruction.*, got 'Find code'"):
        reranker.rank(QUERY, DOCUMENTS, instruction="Find code")


def test_a_server_that_appends_no_end_token_is_refused_where_texts_are_sent(
    files: dict[str, Path],
) -> None:
    with LlamaCppServer(files["no end"], "embedding") as server:
        embedder = Qwen3Embedder("tiny", backend=Remote(server.url, api="openai"))

        with pytest.raises(BackendError, match="does not append the end token"):
            embedder.warm_up()


def test_texts_give_the_same_vectors_as_ids(embedding_server: LlamaCppServer) -> None:
    texts = [text for text in DOCUMENTS if "<|" not in text]
    with (
        Qwen3Embedder("tiny", max_length=512, backend=Remote(embedding_server.url)) as ids,
        Qwen3Embedder(
            "tiny", max_length=512, backend=Remote(embedding_server.url, api="openai")
        ) as sent,
    ):
        vectors = [one.embed_documents(texts) for one in (ids, sent)]

    assert np.einsum("ij,ij->i", *vectors).min() > 0.9999


def test_a_key_is_not_in_the_message_of_a_server_that_repeats_it(
    embedding_server: LlamaCppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyProxy(embedding_server.url, share=1, faults=["500"]) as proxy:
        monkeypatch.setenv("SOME_KEY", "busy")  # the proxy's own word
        remote = Remote(proxy.url, api="openai", api_key_env="SOME_KEY", max_retries=0)

        with pytest.raises(BackendError, match=r"status 500: \*\*\*"):
            Qwen3Embedder("tiny", backend=remote).warm_up()


def test_a_missing_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    embedder = Qwen3Embedder("tiny", backend=Remote("http://127.0.0.1:1", api_key_env="SOME_KEY"))

    with pytest.raises(InputError, match="'SOME_KEY'"):
        embedder.warm_up()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"base_url": "localhost:8000"}, InputError, "http://localhost:8000"),
        ({"base_url": "http://user:s3cret@host"}, InputError, "`api_key`"),
        ({"base_url": "http://host/v1?key=1"}, InputError, "no `\\?`"),
        ({"base_url": 8000}, InputTypeError, "base_url"),
        ({"base_url": "http://host", "api": "vLLM"}, InputError, "qwen3-rag, vllm, sglang"),
        ({"base_url": "http://host", "timeout": 0}, InputError, "timeout"),
        ({"base_url": "http://host", "concurrency": 0}, InputError, "concurrency"),
        ({"base_url": "http://host", "max_retries": -1}, InputError, "max_retries"),
        ({"base_url": "http://host", "batch_size": 0}, InputError, "batch_size"),
        ({"base_url": "http://host", "headers": {"a": 1}}, InputTypeError, "headers"),
        ({"base_url": "http://host", "api_key": 4711}, InputTypeError, "got int"),
        ({"base_url": "http://host", "api_key": "a\ns3cret"}, InputError, "cannot be a key"),
        ({"base_url": "http://host", "api_key_env": ""}, InputTypeError, "name of an environment"),
        ({"base_url": "http://host", "api_key": "k", "api_key_env": "K"}, InputError, "both given"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        Remote(**arguments)

    assert "s3cret" not in str(caught.value)
