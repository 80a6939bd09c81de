"""`Remote` of this project on this server: the same numbers, cuts and counts as in process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import qwen3_rag_tiny
from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import BackendError, InputError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Backend, Capabilities, EmbedPrompt, Limits, Role
from qwen3_rag.cache import cache_info
from qwen3_rag_server import RunningServer, Served, Settings
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.contracts import (
    TEXTS,
    BackendContract,
    EmbedderContract,
    RerankerContract,
)

TASK = "Given a question about a database, find the sentence that answers it"
#: Texts that are hard to send, and such that a cut at some limits is within a character.
HARD = [*TEXTS, "word " * 6_000, "東京" * 300, "مرحبا بالعالم " * 150, "emoji 👩‍👩‍👧 " * 150]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    """A server whose fixture needs none that a contract replaces."""
    with (
        Qwen3Embedder("tiny") as embedder,
        Qwen3Reranker("tiny") as reranker,
        RunningServer(Served(embedder, reranker), port=0) as server,
    ):
        yield server


class _OnServer:
    @pytest.fixture(autouse=True)
    def keep(self, running: RunningServer) -> None:
        self.remote = Remote(running.url)


class TestBackend(_OnServer, BackendContract):
    tolerance = 1e-6

    def make_backend(self, role: Role) -> Backend:
        return self.remote.start("tiny", role)


class TestEmbedder(_OnServer, EmbedderContract):
    tolerance = 1e-6

    def make_embedder(self, **settings: Any) -> Qwen3Embedder:
        return Qwen3Embedder("tiny", backend=self.remote, **settings)


class TestReranker(_OnServer, RerankerContract):
    tolerance = 1e-6

    def make_reranker(self, **settings: Any) -> Qwen3Reranker:
        return Qwen3Reranker("tiny", backend=self.remote, **settings)


@pytest.mark.parametrize("api", [None, "qwen3-rag"])
@pytest.mark.parametrize("limit", [None, 130, 131])
def test_vectors_cuts_and_counts_are_those_of_this_process(
    server: RunningServer, api: str | None, limit: int | None
) -> None:
    def made(**where: Any) -> tuple[Any, ...]:
        settings: dict[str, Any] = {"dim": 64, "max_length": limit, "document_prefix": "- "}
        with Qwen3Embedder("tiny", **settings, **where) as model:
            query = model.embed_queries([QUERY, "key"], instruction=[TASK, "Find code"])
            return query, model.embed_documents(HARD, details=True)

    (query, documents), (there_query, there) = made(), made(backend=Remote(server.url, api))

    np.testing.assert_allclose(there_query, query, rtol=0, atol=1e-6)
    np.testing.assert_allclose(there.vectors, documents.vectors, rtol=0, atol=1e-6)
    assert (there.tokens, there.cut_at) == (documents.tokens, documents.cut_at)
    assert any(cut is not None for cut in documents.cut_at)


@pytest.mark.parametrize("instruction", [None, TASK])
def test_logits_probabilities_and_cuts_are_those_of_this_process(
    server: RunningServer, instruction: str | None
) -> None:
    pairs = [(QUERY, text) for text in HARD] + [("long " * 100, DOCUMENTS[0])]

    def made(**where: Any) -> Any:
        limits: dict[str, Any] = {
            "max_length": 200,
            "max_query_tokens": 20,
            "max_document_tokens": 90,
        }
        with Qwen3Reranker("tiny", **limits, **where) as model:
            return model.score(pairs, instruction=instruction, details=True)

    here, there = made(), made(backend=Remote(server.url))

    np.testing.assert_allclose(there.logits, here.logits, rtol=0, atol=1e-6)
    np.testing.assert_allclose(there.scores, here.scores, rtol=0, atol=1e-6)
    assert (there.tokens, there.cut_at) == (here.tokens, here.cut_at)
    assert there.query_cut_at == here.query_cut_at
    assert here.query_cut_at[-1] is not None


def test_the_model_is_described_as_in_this_process_and_needs_no_files_here(
    server: RunningServer, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    for kind, here in ((Qwen3Embedder, embedder), (Qwen3Reranker, reranker)):
        with kind("/nowhere/on-this-disk", backend=Remote(server.url)) as there:
            theirs, ours = there.warm_up(), here.warm_up()
        names = ("fingerprint", "earlier_fingerprint", "variant", "dim", "context", "role")
        assert [getattr(theirs, n) for n in names] == [getattr(ours, n) for n in names]
        assert theirs.prompts.texts == ours.prompts.texts
        assert theirs.server == f"qwen3-rag at {server.url}, which calls it 'tiny'"


def test_the_prompts_that_a_checkpoint_was_saved_with_are_used_by_the_client(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "fine-tune"
    shutil.copytree(qwen3_rag_tiny.embedding_folder(), folder)
    saved = {"prompts": {"query": "Find: ", "document": "- "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(saved))
    with (
        Qwen3Embedder(folder) as here,
        RunningServer(Served(here), port=0) as server,
        Qwen3Embedder("my-finetune", backend=Remote(server.url)) as there,
    ):
        for method in ("embed_queries", "embed_documents"):
            ours, theirs = (getattr(one, method)(DOCUMENTS) for one in (here, there))
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6)
        told = httpx.get(f"{server.url}/info").text
    assert str(folder.parent) not in told


def test_a_cache_has_the_results_of_this_process_for_those_of_the_server(
    server: RunningServer, tmp_path: Path
) -> None:
    path = tmp_path / "cache"
    with Qwen3Embedder("tiny", cache=path) as here:
        here.embed_documents(DOCUMENTS)
    with Qwen3Embedder("tiny", backend=Remote(server.url), cache=path) as there:
        there.embed_documents(DOCUMENTS)
        assert cache_info(path).entries == len(DOCUMENTS)
        there.embed_queries(DOCUMENTS)
        assert cache_info(path).entries == 2 * len(DOCUMENTS)
    revised = Remote(server.url, revision="2")
    with Qwen3Embedder("tiny", backend=revised, cache=path) as there:
        there.embed_documents(DOCUMENTS)
        assert there.warm_up().fingerprint == "name:tiny@2"
    assert cache_info(path).entries == 3 * len(DOCUMENTS)


def test_limits_are_the_servers_where_it_has_lower_ones(embedder: Qwen3Embedder) -> None:
    with (
        Qwen3Embedder("tiny", max_length=70) as served,
        RunningServer(Served(served), port=0) as server,
    ):
        remote = Remote(server.url)
        with Qwen3Embedder("tiny", backend=remote) as there:
            assert there.embed_documents(["word " * 99], details=True).tokens == (70,)
        with (
            Qwen3Embedder("tiny", backend=remote, max_length=71) as there,
            pytest.raises(InputError, match="`max_length` can be 70 at most"),
        ):
            there.embed_documents(["a"])


def test_what_is_wrong_input_here_is_wrong_input_there(server: RunningServer) -> None:
    places: tuple[dict[str, Any], ...] = ({}, {"backend": Remote(server.url)})
    for where in places:
        with (
            Qwen3Embedder("tiny", max_length=64, **where) as model,
            pytest.raises(InputError, match="leaves no room for the query"),
        ):
            model.embed_queries(["a"], instruction="word " * 90)


def test_more_texts_than_the_server_takes_at_once_are_sent_in_parts(
    embedder: Qwen3Embedder,
) -> None:
    with RunningServer(Served(embedder), Settings(max_texts=2), port=0) as server:
        for size in (None, 5):  # as the server says, and against what it says
            remote = Remote(server.url, batch_size=size)
            with Qwen3Embedder("tiny", backend=remote) as there:
                made = there.embed_documents(DOCUMENTS, details=True)
            ours = embedder.embed_documents(DOCUMENTS, details=True)
            np.testing.assert_allclose(made.vectors, ours.vectors, rtol=0, atol=1e-6)
            assert made.tokens == ours.tokens


@pytest.mark.parametrize(
    ("served", "kind", "message"),
    [
        (lambda e, r: Served(e), Qwen3Reranker, "only embeds.*--reranker NAME"),
        (lambda e, r: Served(None, r), Qwen3Embedder, "only reranks.*--model NAME"),
        (lambda e, r: Served(e, r), Qwen3Embedder, "serves 'tiny', not 'other'"),
    ],
)
def test_a_server_without_the_model_is_refused_with_what_mends_it(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker, served: Any, kind: Any, message: str
) -> None:
    named = "other" if "other" in message else None
    with (
        RunningServer(served(embedder, reranker), port=0) as server,
        kind("tiny", backend=Remote(server.url, model=named)) as model,
        pytest.raises(BackendError, match=message),
    ):
        model.warm_up()


def test_a_missing_or_wrong_key_is_an_error_that_names_the_setting(
    embedder: Qwen3Embedder,
) -> None:
    with RunningServer(Served(embedder), Settings(api_keys=["k-1"]), port=0) as server:
        for api in (None, "qwen3-rag"):
            for key in (None, "k-2"):
                with (
                    Qwen3Embedder("tiny", backend=Remote(server.url, api, api_key=key)) as model,
                    pytest.raises(BackendError, match="api_key_env"),
                ):
                    model.warm_up()
        with Qwen3Embedder("tiny", backend=Remote(server.url, api_key="k-1")) as model:
            assert model.warm_up().dim == 512


def test_a_backend_that_counts_no_tokens_and_says_little_is_served_too() -> None:
    with (
        Qwen3Embedder("any", backend=DeterministicBackend()) as here,
        RunningServer(Served(here), port=0) as server,
    ):
        backend = Remote(server.url).start("any", "embedding")
        said: Capabilities = backend.open().result(60)
        output = backend.run([EmbedPrompt("a", "Find", "b")], Limits()).result(60)
        backend.close()
        assert said.counts_tokens == here.warm_up().counts_tokens
        assert (output.tokens is None) != said.counts_tokens
        assert said.fingerprint == here.warm_up().fingerprint
