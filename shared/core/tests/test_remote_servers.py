"""Models on stand-ins of vLLM, TEI and SGLang: the same numbers as here, and wrong set-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Backend, Limits, RerankPrompt, Role
from qwen3_rag_testkit.contracts import TEXTS, BackendContract

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.model_server import ModelServer, started_once
from qwen3_rag_testkit.own_servers import SGLangServer, TEIServer, VLLMServer

EMBEDDER = qwen3_rag_tiny.embedding_folder()
RERANKER = qwen3_rag_tiny.reranking_folder()
QUERY = "Where is the data stored?"
DOCUMENTS = [*TEXTS, "Milvus stores data in object storage.", "word " * 6_000]
TASK = "Given a question about a database, find the sentence that answers it"

#: Servers that give the right numbers, by the name of the set-up.
RIGHT: dict[str, Callable[[], ModelServer]] = {
    "vllm": lambda: VLLMServer(EMBEDDER, "embedding"),
    "vllm ids": lambda: VLLMServer(RERANKER, "reranking"),
    "vllm template": lambda: VLLMServer(RERANKER, "reranking", runner="classify"),
    "vllm no template": lambda: VLLMServer(
        RERANKER, "reranking", runner="classify", template=False
    ),
    "tei": lambda: TEIServer(EMBEDDER),
    "sglang": lambda: SGLangServer(EMBEDDER, "embedding"),
    "sglang ids": lambda: SGLangServer(RERANKER, "reranking"),
    "sglang template": lambda: SGLangServer(RERANKER, "reranking", scoring=False),
}
#: Set-ups where only texts can be sent.
TEXT_ONLY = ("vllm template", "vllm no template", "sglang template")


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], ModelServer]]:
    with started_once(RIGHT) as start:
        yield start


class RemoteContract(BackendContract):
    tolerance = 1e-5
    api: str
    setups: ClassVar[dict[Role, str]]

    @pytest.fixture(autouse=True)
    def keep(self, servers: Callable[[str], ModelServer]) -> None:
        self.servers = servers

    def make_backend(self, role: Role) -> Backend:
        return Remote(self.servers(self.setups[role]).url, api=self.api).start("tiny", role)


class TestVLLM(RemoteContract):
    api = "vllm"
    setups: ClassVar[dict[Role, str]] = {"embedding": "vllm", "reranking": "vllm ids"}


class TestVLLMWithTemplate(RemoteContract):
    api = "vllm"
    setups: ClassVar[dict[Role, str]] = {"embedding": "vllm", "reranking": "vllm template"}
    role = pytest.fixture(lambda self: "reranking")


class TestVLLMWithoutTemplate(RemoteContract):
    api = "vllm"
    setups: ClassVar[dict[Role, str]] = {"embedding": "vllm", "reranking": "vllm no template"}
    role = pytest.fixture(lambda self: "reranking")


class TestTEI(RemoteContract):
    api = "tei"
    setups: ClassVar[dict[Role, str]] = {"embedding": "tei"}
    role = pytest.fixture(lambda self: "embedding")


class TestSGLang(RemoteContract):
    api = "sglang"
    setups: ClassVar[dict[Role, str]] = {"embedding": "sglang", "reranking": "sglang ids"}


@pytest.mark.parametrize("setup", ["vllm", "tei", "sglang"])
def test_vectors_cuts_and_counts_are_those_of_the_local_engine(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    with (
        Qwen3Embedder("tiny", max_length=512, dim=64) as here,
        Qwen3Embedder("tiny", max_length=512, dim=64, backend=Remote(servers(setup).url)) as there,
    ):
        ours, theirs = (one.embed_documents(DOCUMENTS, details=True) for one in (here, there))
        queries = [one.embed_queries([QUERY], instruction=TASK) for one in (here, there)]

        assert here.warm_up().fingerprint == there.warm_up().fingerprint
    exact = [index for index, text in enumerate(DOCUMENTS) if setup != "tei" or "<|" not in text]
    np.testing.assert_allclose(theirs.vectors[exact], ours.vectors[exact], rtol=0, atol=1e-5)
    assert np.einsum("ij,ij->i", ours.vectors, theirs.vectors).min() > 0.9
    np.testing.assert_allclose(queries[1], queries[0], rtol=0, atol=1e-5)
    assert theirs.tokens == ours.tokens
    assert theirs.cut_at == ours.cut_at
    assert ours.cut_at[-1] is not None


@pytest.mark.parametrize("setup", [name for name in RIGHT if " " in name])
@pytest.mark.parametrize("instruction", [None, TASK])
def test_probabilities_are_those_of_the_local_engine(
    servers: Callable[[str], ModelServer], setup: str, instruction: str | None
) -> None:
    # SGLang refuses blank documents where it takes texts.
    texts = [text for text in DOCUMENTS if text.strip() or setup != "sglang template"]
    with (
        Qwen3Reranker("tiny", max_length=512) as here,
        Qwen3Reranker("tiny", max_length=512, backend=Remote(servers(setup).url)) as there,
    ):
        ours, theirs = (
            one.score([(QUERY, text) for text in texts], instruction=instruction, details=True)
            for one in (here, there)
        )

    exact = [
        index for index, text in enumerate(texts) if setup not in TEXT_ONLY or "<|" not in text
    ]
    np.testing.assert_allclose(
        np.asarray(theirs.scores)[exact], np.asarray(ours.scores)[exact], rtol=0, atol=1e-4
    )
    assert theirs.cut_at == ours.cut_at
    assert ours.cut_at[-1] is not None


@pytest.mark.parametrize("setup", ["vllm template", "vllm no template", "sglang template"])
def test_a_pair_that_the_server_cuts_is_an_error(
    servers: Callable[[str], ModelServer], setup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers(setup)
    encode = server.model.encode
    with Qwen3Reranker("tiny", backend=Remote(server.url)) as reranker:
        reranker.warm_up()
        monkeypatch.setattr(
            server.model, "encode", lambda text, **options: encode(text, **options)[:150]
        )
        with pytest.raises(BackendError, match=r"read \d+ tokens of prompts that have \d+, so it"):
            reranker.score([(QUERY, "word " * 100)])


#: Characters of several tokens, so that some limits are within one.
FOREIGN = ["東京" * 300, "مرحبا بالعالم " * 150, "emoji 👩‍👩‍👧 " * 150]


@pytest.mark.parametrize("setup", RIGHT)
@pytest.mark.parametrize("limit", [130, 131, 132])
def test_a_cut_within_a_character_is_before_it_where_the_server_encodes(
    servers: Callable[[str], ModelServer], setup: str, limit: int
) -> None:
    kind: Any = Qwen3Reranker if " " in setup else Qwen3Embedder
    encodes = setup in (*TEXT_ONLY, "tei")

    def compute(model: Any) -> Any:
        if kind is Qwen3Reranker:
            return model.score([(QUERY, text) for text in FOREIGN], details=True)
        return model.embed_documents(FOREIGN, details=True)

    with (
        kind("tiny", max_length=limit) as here,
        kind("tiny", max_length=limit, backend=Remote(servers(setup).url)) as there,
    ):
        ours, theirs = compute(here), compute(there)

    assert theirs.cut_at == ours.cut_at
    results = (ours.scores, theirs.scores) if " " in setup else (ours.vectors, theirs.vectors)
    np.testing.assert_allclose(*results, rtol=0, atol=0.05 if encodes else 1e-4)
    if kind is Qwen3Embedder:
        less = [most - read for most, read in zip(ours.tokens, theirs.tokens, strict=True)]
        assert all(0 <= one <= (2 if encodes else 0) for one in less)


def test_a_text_that_is_cut_within_a_character_is_not_too_long_for_tei() -> None:
    """What a part of a character is decoded to would be encoded in three tokens."""
    with TEIServer(EMBEDDER) as server:
        for server.limit in (130, 131, 132):
            with Qwen3Embedder("tiny", backend=Remote(server.url)) as embedder:
                [cut_at] = embedder.embed_documents(FOREIGN[:1], details=True).cut_at

            assert cut_at is not None


def test_control_tokens_in_a_text_are_never_taken_as_such_by_tei(
    servers: Callable[[str], ModelServer],
) -> None:
    server = servers("tei")
    server.requests.clear()
    with Qwen3Embedder("tiny", backend=Remote(server.url)) as embedder:
        embedder.embed_documents(["a <|im_end|> b"])

    [_, last] = server.requests[-1]
    tokens = server.model.tokenizer.convert_ids_to_tokens(last["inputs"][0])
    text = server.model.tokenizer.decode(last["inputs"][0])
    assert tokens[-1] == "<|endoftext|>"
    assert server.model.encode(text, special=False) == last["inputs"][0]
    assert "<|im_end|>" not in tokens


def vllm(role: Role, **options: Any) -> Callable[[], ModelServer]:
    return lambda: VLLMServer(RERANKER if role == "reranking" else EMBEDDER, role, **options)


def sglang(**options: Any) -> Callable[[], ModelServer]:
    return lambda: SGLangServer(RERANKER, "reranking", scoring=False, **options)


@pytest.mark.parametrize(
    ("server", "role", "message"),
    [
        (vllm("embedding"), "reranking", "as an embedding model.*--runner generate"),
        (vllm("reranking", runner="embed"), "reranking", "as an embedding model.*--runner gen"),
        (vllm("reranking"), "embedding", "--runner pooling"),
        (vllm("reranking", runner="embed"), "embedding", "128 numbers.*has 512"),
        (
            vllm("reranking", runner="classify", instructions=False),
            "reranking",
            "ignores instructions.*--chat-template",
        ),
        (sglang(template="roles"), "reranking", "tokens of prompts.*--chat-template"),
        (sglang(template="fixed"), "reranking", "ignores instructions.*--chat-template"),
        (lambda: SGLangServer(EMBEDDER, "embedding"), "reranking", "without `--is-embedding`"),
        (lambda: TEIServer(EMBEDDER), "reranking", "does not run Qwen3-Reranker"),
        (lambda: TEIServer(EMBEDDER, default_prompt="query: "), "embedding", "default prompt"),
        (lambda: TEIServer(EMBEDDER, pooling="mean"), "embedding", "pooling is 'mean'.*--pooling"),
    ],
)
def test_a_wrong_set_up_is_refused_with_what_mends_it(
    server: Callable[[], ModelServer], role: Role, message: str
) -> None:
    with server() as running:
        backend = Remote(running.url).start("tiny", role)

        with pytest.raises(BackendError, match=message):
            backend.open().result(60)

        backend.close()


def test_an_embedder_refuses_a_reranker_of_its_own_size(
    make_checkpoint: Callable[..., Path],
) -> None:
    """As those of the real pair are."""
    with (
        VLLMServer(make_checkpoint("reranking"), "reranking", runner="embed") as server,
        Qwen3Embedder(make_checkpoint("embedding"), backend=Remote(server.url)) as embedder,
        pytest.raises(BackendError, match=r"runs a reranker.*embedding checkpoint"),
    ):
        embedder.warm_up()


@pytest.mark.parametrize("setup", ["vllm", "tei", "sglang"])
def test_a_missing_or_wrong_key_is_an_error_that_names_the_setting(setup: str) -> None:
    make: dict[str, Callable[[], ModelServer]] = {
        "vllm": lambda: VLLMServer(EMBEDDER, "embedding", api_key="k-1"),
        "tei": lambda: TEIServer(EMBEDDER, api_key="k-1"),
        "sglang": lambda: SGLangServer(EMBEDDER, "embedding", api_key="k-1"),
    }
    with make[setup]() as server:
        for api in (None, setup):
            for key in (None, "k-2"):
                with (
                    Qwen3Embedder("tiny", backend=Remote(server.url, api, api_key=key)) as embedder,
                    pytest.raises(BackendError, match="api_key_env"),
                ):
                    embedder.warm_up()
        with Qwen3Embedder("tiny", backend=Remote(server.url, api_key="k-1")) as embedder:
            assert embedder.warm_up().dim == 512


def test_nothing_is_asked_for_with_fields_that_change_the_numbers(
    servers: Callable[[str], ModelServer],
) -> None:
    """`dimensions` is refused or ignored by some, and server-side cuts lose the end token."""
    for setup in RIGHT:
        server = servers(setup)
        role: Role = "reranking" if " " in setup else "embedding"
        server.requests.clear()
        backend = Remote(server.url).start("tiny", role)
        prompts: Any = [RerankPrompt("a", "b")] if role == "reranking" else []
        backend.run(prompts, Limits()).result(60)
        backend.close()
        sent = {name for _, body in server.requests for name in body}
        assert server.requests
        assert not sent & {"dimensions", "truncate_prompt_tokens", "input_type", "top_n"}


def test_the_longest_input_of_the_server_is_that_of_the_model() -> None:
    with (
        VLLMServer(EMBEDDER, "embedding") as server,
        Qwen3Embedder("tiny", max_length=4_096, backend=Remote(server.url)) as embedder,
    ):
        server.limit = 100

        cut = embedder.embed_documents(["word " * 500], details=True)

    assert cut.cut_at[0] is not None
    assert cut.tokens == (100,)


def test_a_pair_has_room_for_the_token_that_vllm_generates(
    servers: Callable[[str], ModelServer],
) -> None:
    """Without it, vLLM cuts the prompt's end off without a word."""
    server = servers("vllm ids")
    pair = (QUERY, "word " * 6_000)
    with (
        Qwen3Reranker("tiny", max_length=server.limit - 1) as here,
        Qwen3Reranker("tiny", max_length=server.limit, backend=Remote(server.url)) as there,
    ):
        ours, theirs = (one.score([pair], details=True) for one in (here, there))

    np.testing.assert_allclose(theirs.scores, ours.scores, rtol=0, atol=1e-4)
    assert theirs.cut_at == ours.cut_at
