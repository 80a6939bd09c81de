"""Models on stand-ins of Ollama and vendors: the same numbers as here, limits, and wrong uses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, InputError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import UNKNOWN, Backend, Role
from qwen3_rag_testkit.contracts import TEXTS, BackendContract
from qwen3_rag_testkit.faulty_proxy import FAULTS, FaultyProxy

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.model_server import ModelServer, openai_vectors, started_once
from qwen3_rag_testkit.own_servers import VLLMServer
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
#: Names of models where the vendor's are not those that were published.
NAMES = {
    "dashscope": "text-embedding-v4",
    "dashscope rerank": "qwen3-rerank",
}
#: APIs that have no instruction for reranking.
FIXED = ("openrouter rerank", "cohere rerank")


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], ModelServer]]:
    with started_once(SERVERS) as start:
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


def test_queries_with_different_instructions_go_into_different_requests(
    servers: Callable[[str], ModelServer],
) -> None:
    tasks = [TASK, "Find code", TASK]
    backend = remote(servers("dashscope"), "dashscope")
    with (
        Qwen3Embedder("tiny", dim=512) as here,
        Qwen3Embedder("text-embedding-v4", dim=512, backend=backend) as there,
    ):
        ours, theirs = (
            each.embed_queries([QUERY, QUERY, "why"], instruction=tasks) for each in (here, there)
        )

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


@pytest.mark.parametrize("setup", ["ollama", "siliconflow", "deepinfra", "openrouter"])
def test_cuts_and_counts_are_those_of_the_local_engine(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    texts = ["word " * 6_000, "short"]
    with (
        Qwen3Embedder("tiny", max_length=64) as here,
        Qwen3Embedder("tiny", max_length=64, backend=remote(servers(setup), setup)) as there,
    ):
        ours, theirs = (each.embed_documents(texts, details=True) for each in (here, there))

    np.testing.assert_allclose(theirs.vectors, ours.vectors, rtol=0, atol=1e-5)
    assert theirs.tokens == ours.tokens
    assert theirs.cut_at == ours.cut_at


def test_cuts_that_a_vendor_hides_are_unknown(servers: Callable[[str], ModelServer]) -> None:
    backend = remote(servers("dashscope"), "dashscope")
    with Qwen3Embedder("text-embedding-v4", backend=backend) as embedder:
        found = embedder.embed_documents(["short", "word " * 3_000], details=True)
    backend = remote(servers("dashscope rerank"), "dashscope rerank")
    with Qwen3Reranker("qwen3-rerank", backend=backend) as reranker:
        scores = reranker.score([(QUERY, "short"), ("why " * 1_500, "word " * 1_500)], details=True)

    assert found.tokens is None
    assert found.cut_at == (None, UNKNOWN)
    assert scores.cut_at == scores.query_cut_at == (None, UNKNOWN)


def test_limits_that_nobody_would_obey_are_refused(servers: Callable[[str], ModelServer]) -> None:
    backend = remote(servers("dashscope"), "dashscope")
    with (
        Qwen3Embedder("text-embedding-v4", max_length=512, backend=backend) as embedder,
        pytest.raises(InputError, match="`max_length`"),
    ):
        embedder.embed_documents(["short"])


def test_templates_are_refused_where_the_vendor_makes_the_prompt(
    servers: Callable[[str], ModelServer],
) -> None:
    backend = remote(servers("dashscope"), "dashscope")
    with (
        Qwen3Embedder("text-embedding-v4", document_prefix="- ", backend=backend) as embedder,
        pytest.raises(InputError, match="`document_prefix` out"),
    ):
        embedder.embed_documents(["short"])


@pytest.mark.parametrize(
    ("setup", "model", "rows", "size"),
    [
        ("dashscope", "text-embedding-v4", 10, 16_384),
        ("dashscope", "qwen3.7-text-embedding", 10, 8_192),
        ("siliconflow", None, 32, 10**6),
    ],
)
def test_requests_keep_to_the_limits_of_the_vendor(
    servers: Callable[[str], ModelServer], setup: str, model: str | None, rows: int, size: int
) -> None:
    """A token is taken for two bytes where it cannot be counted."""
    server = servers(setup)
    long = [f"{number} {'word ' * 400 * (number % 3)}" for number in range(20)]
    texts = [*long, *[f"short {number}" for number in range(80)]]
    backend = remote(server, setup, model=model)
    with Qwen3Embedder(model or "tiny", dim=256, backend=backend) as embedder:
        embedder.warm_up()
        server.requests.clear()
        embedder.embed_documents(texts)

    sent = [body["input"]["texts"] if model else body["input"] for _, body in server.requests]
    assert sorted(text for one in sent for text in one) == sorted(texts)
    assert max(map(len, sent)) == rows
    assert all(sum(len(text) for text in one) <= size for one in sent)
    if model:
        assert all(
            ("dimension" in body["parameters"]) == (model == "text-embedding-v4")
            for _, body in server.requests
        )


def test_ollama_never_cuts(servers: Callable[[str], ModelServer]) -> None:
    server = servers("ollama")
    server.requests.clear()
    server.limit = 100
    try:
        with Qwen3Embedder("tiny", backend=remote(server, "ollama")) as embedder:
            cut = embedder.embed_documents(["word " * 500], details=True)
    finally:
        server.limit = 4_096

    texts = [body for path, body in server.requests if path == "/api/embed" and body["input"]]
    assert [body["truncate"] for body in texts] == [False] * len(texts)
    assert cut.tokens == (100,)
    assert cut.cut_at[0] is not None


def test_every_instruction_is_said_to_vendors_whose_default_is_not_known(
    servers: Callable[[str], ModelServer],
) -> None:
    for setup in ("siliconflow rerank", "dashscope rerank", "deepinfra rerank"):
        server = servers(setup)
        with Qwen3Reranker("tiny", backend=remote(server, setup)) as reranker:
            reranker.score([(QUERY, "short")])
        said = [{**body, **body.get("parameters", {})} for _, body in server.requests]
        assert all("instruct" in body or "instruction" in body for body in said)


@pytest.mark.parametrize(
    ("host", "setup"),
    [
        ("dashscope.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("dashscope-intl.aliyuncs.com/api/v1", "dashscope"),
        ("ws-1.ap-southeast-1.maas.aliyuncs.com", "dashscope"),
        ("api.siliconflow.cn/v1/", "siliconflow"),
        ("api.siliconflow.com", "siliconflow"),
        ("api.deepinfra.com/v1/openai", "deepinfra"),
        ("openrouter.ai/api/v1", "openrouter"),
    ],
)
def test_a_vendor_is_known_by_its_host_and_its_usual_address(
    servers: Callable[[str], ModelServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    host: str,
    setup: str,
) -> None:
    server = servers(setup)
    server.requests.clear()
    monkeypatch.setenv("http_proxy", server.url)  # so that no name is looked up
    caplog.set_level("INFO", "qwen3_rag")
    backend = Remote(f"http://{host}", model=NAMES.get(setup), api_key="k-1", max_retries=0)

    with Qwen3Embedder(model_of(setup), backend=backend) as embedder:
        assert embedder.warm_up().dim == (2_048 if setup == "dashscope" else 512)

    assert f"({setup})" in caplog.text
    assert server.requests


def test_ollama_is_known_by_its_answers(
    servers: Callable[[str], ModelServer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "qwen3_rag")
    with Qwen3Embedder("tiny", backend=Remote(servers("ollama").url, api_key="k-1")) as embedder:
        assert "c0ffee" in str(embedder.warm_up().variant)

    assert "(ollama)" in caplog.text


def vendor(kind: Callable[..., ModelServer], role: Role, **options: Any) -> Callable[[], Any]:
    folder = EMBEDDER if role == "embedding" or options.get("cosines") else RERANKER
    return lambda: kind(folder, role, **options)


@pytest.mark.parametrize(
    ("setup", "server", "role", "message"),
    [
        ("ollama", lambda: OllamaServer(EMBEDDER), "reranking", "does not rerank.*llama.cpp"),
        (
            "ollama",
            lambda: OllamaServer(RERANKER, "reranking"),
            "embedding",
            "no embedding model.*ollama pull",
        ),
        (
            "ollama",
            lambda: OllamaServer(EMBEDDER, end_token=False),
            "embedding",
            "does not append the end token.*ollama pull",
        ),
        (
            "dashscope",
            vendor(DashScopeServer, "embedding", sides=False),
            "embedding",
            "embeds queries as documents",
        ),
        (
            "dashscope",
            vendor(DashScopeServer, "embedding", sizes=False),
            "embedding",
            "2048 numbers, and answered with 1024",
        ),
        (
            "dashscope rerank",
            vendor(DashScopeServer, "reranking", cosines=True),
            "reranking",
            "compares vectors",
        ),
        (
            "siliconflow rerank",
            vendor(SiliconFlowServer, "reranking", cosines=True),
            "reranking",
            "compares vectors",
        ),
        (
            "deepinfra rerank",
            vendor(DeepInfraServer, "reranking", cosines=True),
            "reranking",
            "compares vectors",
        ),
        (
            "openrouter rerank",
            vendor(OpenRouterServer, "reranking", cosines=True),
            "reranking",
            "compares vectors",
        ),
        (
            "cohere rerank",
            lambda: CohereServer(EMBEDDER, cosines=True),
            "reranking",
            "compares vectors",
        ),
        ("siliconflow", vendor(SiliconFlowServer, "reranking"), "embedding", "404"),
        (
            "siliconflow",
            lambda: SiliconFlowServer(RERANKER, "embedding"),
            "embedding",
            "128 numbers.*has 512",
        ),
        (
            "cohere rerank",
            lambda: VLLMServer(RERANKER, "reranking", runner="classify", template=False),
            "reranking",
            "no chat template",
        ),
    ],
)
def test_a_wrong_set_up_is_refused_with_what_mends_it(
    setup: str, server: Callable[[], ModelServer], role: Role, message: str
) -> None:
    with server() as running:
        name = "served" if isinstance(running, VLLMServer) else NAMES.get(setup)
        backend = remote(running, setup, model=name).start(
            model_of(setup) if role == "embedding" else "tiny", role
        )

        with pytest.raises(BackendError, match=message):
            backend.open().result(60)

        backend.close()


def test_a_reranker_without_a_template_is_refused_without_a_tokenizer_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with VLLMServer(RERANKER, "reranking", runner="classify", template=False) as server:
        backend = Remote(server.url, api="cohere", model="served").start(
            "no/such-model", "reranking"
        )

        with pytest.raises(BackendError, match="144 or more"):
            backend.open().result(60)

        backend.close()


@pytest.mark.parametrize(
    ("setup", "server"),
    [
        ("dashscope rerank", vendor(DashScopeServer, "reranking", instructions=False)),
        ("siliconflow rerank", vendor(SiliconFlowServer, "reranking", instructions=False)),
        ("deepinfra rerank", vendor(DeepInfraServer, "reranking", instructions=False)),
        ("cohere rerank", lambda: CohereServer(RERANKER)),
    ],
)
def test_a_vendor_that_ignores_instructions_is_given_none(
    setup: str, server: Callable[[], ModelServer]
) -> None:
    with server() as running, Qwen3Reranker("tiny", backend=remote(running, setup)) as reranker:
        best = reranker.rank(QUERY, ["Bananas are yellow.", "The data is stored on a disk."])[0]

        assert best.index == 1
        with pytest.raises(InputError, match="no other instruction"):
            reranker.rank(QUERY, DOCUMENTS, instruction=TASK)


def test_a_vendor_that_ignores_the_instruction_of_queries_is_given_none() -> None:
    with DashScopeServer(EMBEDDER, "embedding", instructions=False) as server:
        backend = remote(server, "dashscope", model="text-embedding-v3")
        with Qwen3Embedder("text-embedding-v3", backend=backend) as embedder:
            embedder.embed_queries([QUERY])
            embedder.embed_documents([QUERY])

            with pytest.raises(InputError, match="no other instruction"):
                embedder.embed_queries([QUERY], instruction=TASK)


@pytest.mark.parametrize("setup", SERVERS)
def test_broken_answers_lose_nothing_and_nothing_is_sent_again_after_success(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    """Of every kind of fault: 429 with and without Retry-After, short and reordered answers."""
    server = servers(setup)
    options = {"batch_size": 1, "max_retries": 12}
    texts = [f"text number {number}" for number in range(20)]
    with FaultyProxy(server.url, share=0.4, delay=0.05, seed=1800) as proxy:
        path = "/api" if setup.startswith("openrouter") else ""
        through = replace(remote(server, setup, **options), base_url=proxy.url + path)
        found, expected = (
            compute(setup, one, texts) for one in (through, remote(server, setup, **options))
        )

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert set(proxy.broken) == set(FAULTS)
    assert set(proxy.seen.values()) == {1}


def compute(setup: str, backend: Remote, texts: list[str]) -> Any:
    if " " in setup:
        with Qwen3Reranker("tiny", backend=backend) as reranker:
            return reranker.score([(QUERY, text) for text in texts])
    with Qwen3Embedder(model_of(setup), backend=backend) as embedder:
        return embedder.embed_documents(texts)


@pytest.mark.parametrize("setup", SERVERS)
def test_a_wrong_key_is_an_error_with_the_words_of_the_vendor(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    backend = remote(servers(setup), setup, api_key="k-9999")
    role: Role = "reranking" if " " in setup else "embedding"
    running = backend.start(model_of(setup), role)

    with pytest.raises(BackendError, match="api_key_env") as caught:
        running.open().result(60)

    running.close()
    assert re.search("Unauthorized|Invalid token", str(caught.value))
    assert "9999" not in str(caught.value)


def test_an_error_names_the_code_the_message_and_the_texts(
    servers: Callable[[str], ModelServer],
) -> None:
    backend = remote(servers("dashscope"), "dashscope", batch_size=20)
    with (
        Qwen3Embedder("text-embedding-v4", backend=backend) as embedder,
        pytest.raises(
            BackendError,
            match=r"InvalidParameter: batch size is invalid.* 10.*prompts 0 to 19 of 30",
        ),
    ):
        embedder.embed_documents([f"text {number}" for number in range(30)])
    backend = remote(servers("siliconflow"), "siliconflow")
    with (
        Qwen3Embedder("tiny", backend=backend) as embedder,
        pytest.raises(BackendError, match=r"20015: The parameter is invalid.*prompts 0 to 1 of 2"),
    ):
        embedder.embed_documents(["text", ""])


def test_scores_that_are_no_probabilities_are_refused_at_once() -> None:
    class Logits(CohereServer):
        def _probabilities(self, *arguments: Any) -> list[float]:
            return [4.5 for _ in super()._probabilities(*arguments)]

    with Logits(RERANKER) as server:
        backend = remote(server, "cohere", max_retries=10).start("tiny", "reranking")

        with pytest.raises(BackendError, match="between 0 and 1"):
            backend.open().result(60)

        backend.close()
        assert len(server.requests) == 1


@pytest.mark.parametrize("setup", ["cohere rerank", "deepinfra rerank"])
@pytest.mark.parametrize("kind", [str, bool])
def test_scores_that_are_no_numbers_are_no_scores(
    monkeypatch: pytest.MonkeyPatch, setup: str, kind: type
) -> None:
    with SERVERS[setup]() as server:
        answer = server._answer

        def with_others(*arguments: Any) -> Any:
            found = answer(*arguments)
            for one in found.get("results", []):
                one["relevance_score"] = kind(one["relevance_score"])
            return found | {"scores": [kind(one) for one in found.get("scores", [])]}

        monkeypatch.setattr(server, "_answer", with_others)
        backend = remote(server, setup, max_retries=0).start("tiny", "reranking")

        with pytest.raises(BackendError, match=r"no number|no scores of shape"):
            backend.open().result(60)

        backend.close()


def test_a_server_without_base64_is_asked_for_numbers() -> None:
    class NoBase64(SiliconFlowServer):
        def _embed(self, body: Any) -> Any:
            if body["encoding_format"] != "float":
                raise self.error(400, "encoding_format")
            prompts = [self.model.encode(text) for text in body["input"]]
            vectors = [self.model.vector(ids) for ids in prompts]
            return openai_vectors(vectors, body, sum(map(len, prompts)))

    with NoBase64(EMBEDDER, "embedding") as server:
        with Qwen3Embedder("tiny", backend=remote(server, "openai")) as there:
            theirs = there.embed_documents(DOCUMENTS)
        formats = [body["encoding_format"] for _, body in server.requests]
    with Qwen3Embedder("tiny") as here:
        np.testing.assert_allclose(theirs, here.embed_documents(DOCUMENTS), rtol=0, atol=1e-5)
    assert formats.count("base64") == 1


@pytest.mark.parametrize("setup", SERVERS)
def test_control_tokens_are_sent_as_other_text(
    servers: Callable[[str], ModelServer], setup: str
) -> None:
    server = servers(setup)
    text, task = "a <|im_end|> b", f"{TASK} </think>"
    server.requests.clear()
    if " " in setup:
        with Qwen3Reranker("tiny", backend=remote(server, setup)) as reranker:
            reranker.score([(text, text)], instruction=None if setup in FIXED else task)
    else:
        with Qwen3Embedder(model_of(setup), backend=remote(server, setup)) as embedder:
            embedder.embed_documents([text])
            embedder.embed_queries([text], instruction=task)

    sent = json.dumps(server.requests)
    assert "< |im_end|>" in sent
    assert not re.search("<\\|im_end|</think", sent)


def test_a_reranker_that_prefers_wrong_documents_is_refused() -> None:
    class Inverted(SiliconFlowServer):
        def _probabilities(self, *arguments: Any) -> list[float]:
            return [1 - one for one in super()._probabilities(*arguments)]

    with Inverted(RERANKER, "reranking") as server:
        backend = remote(server, "siliconflow").start("tiny", "reranking")

        with pytest.raises(BackendError, match=r"Bananas .* better than"):
            backend.open().result(60)

        backend.close()


def test_an_error_with_the_status_of_success_is_an_error() -> None:
    class Refusing(DashScopeServer):
        def _embed(self, body: Any) -> Any:
            return {"code": "Arrearage", "message": "Overdue payment.", "request_id": "r-1"}

    with Refusing(EMBEDDER, "embedding") as server:
        backend = remote(server, "dashscope").start("text-embedding-v4", "embedding")

        with pytest.raises(BackendError, match="Arrearage: Overdue"):
            backend.open().result(60)

        backend.close()


@pytest.mark.parametrize(
    ("api", "role", "message"),
    [("openai", "reranking", "does not rerank"), ("cohere", "embedding", "does not embed")],
)
def test_an_api_for_the_other_kind_of_model_is_refused(api: str, role: Role, message: str) -> None:
    with VLLMServer(EMBEDDER, "embedding") as server:
        backend = Remote(server.url, api=api, model="served").start("tiny", role)

        with pytest.raises(BackendError, match=f"{message}. Leave `api` out"):
            backend.open().result(60)

        backend.close()


class TestOllama(BackendContract):
    tolerance = 1e-5
    role = pytest.fixture(lambda self: "embedding")

    @pytest.fixture(autouse=True)
    def keep(self, servers: Callable[[str], ModelServer], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OLLAMA_KEY", "k-1")
        self.servers = servers

    def make_backend(self, role: Role) -> Backend:
        server = self.servers("ollama")
        return Remote(server.url, api="ollama", api_key_env="OLLAMA_KEY").start("tiny", role)
