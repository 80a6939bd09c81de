"""Servers that describe themselves oddly, or are busy while it is found out what they speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, Remote
from qwen3_rag.backends import Capabilities, Role
from qwen3_rag_testkit.http_server import LoopbackServer
from qwen3_rag_testkit.model_server import Rejected, Route
from qwen3_rag_testkit.own_servers import VLLMServer

pytest.importorskip("tokenizers", reason="models on servers need tokenizers")

#: What each server says of itself, by path.
GOOD: dict[str, dict[str, Any]] = {
    "vllm": {"/v1/models": {"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": 100}]}},
    "tei": {
        "/info": {
            "model_type": {"embedding": {"pooling": "last_token"}},
            "max_input_length": 100,
            "max_client_batch_size": 32,
            "max_batch_tokens": 1_000,
        }
    },
    "llama.cpp": {
        "/v1/models": {"data": [{"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 100}}]}
    },
    "ollama": {
        "/api/version": {"version": "0.12"},
        "/api/tags": {"models": [{"name": "tiny", "digest": "c0ffee"}]},
        "/api/show": {
            "model_info": {"general.architecture": "qwen3"},
            "capabilities": ["embedding"],
        },
        "/api/embed": {"embeddings": []},
        "/api/ps": {"models": [{"name": "tiny", "context_length": 100}]},
    },
}
#: The same of this project's server, which is believed without being asked to embed.
OWN = {
    "server": "qwen3-rag",
    "max_client_batch_size": 32,
    "models": {
        "embedding": {
            "model": "tiny",
            "fingerprint": "c0ffee",
            "dim": 512,
            "context": 100,
            "counts_tokens": True,
            "prompts": {"texts": [["query", "Find:"]], "default": None, "source": "a file"},
            "earlier_fingerprint": None,
            "variant": "torch.float32 {}",
        }
    },
}
ODD: tuple[Any, ...] = (None, 0, -1, 1.5, True, "many", [], {}, [1])


class Describing(BaseHTTPRequestHandler):
    """Answers each path with what the server is to say."""

    protocol_version = "HTTP/1.1"
    server: DescribingServer

    def do_GET(self) -> None:
        known = self.path in self.server.said
        data = json.dumps(self.server.said.get(self.path, {})).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class DescribingServer(LoopbackServer):
    said: dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[DescribingServer]:
    server = DescribingServer(0, Describing)
    yield server
    server.stop()


def changed(value: Any) -> Iterator[Any]:
    """Yield a value with each of its parts replaced by something odd, or left out."""
    yield from ODD
    if isinstance(value, dict):
        for name, part in value.items():
            for odd in changed(part):
                yield {**value, name: odd}
            yield {other: one for other, one in value.items() if other != name}
    elif isinstance(value, list) and value:
        for odd in changed(value[0]):
            yield [odd]


def all_changed(api: str) -> list[tuple[str, Any]]:
    return [(path, odd) for path, good in GOOD[api].items() for odd in changed(good)]


@pytest.mark.parametrize(
    ("api", "every"),
    [
        *[(api, 11) for api in GOOD],
        *[pytest.param(api, 1, marks=pytest.mark.slow) for api in GOOD],
    ],
)
def test_a_server_that_describes_itself_oddly_is_an_error_in_words(
    server: DescribingServer, api: str, every: int
) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    for path, odd in all_changed(api)[::every]:
        server.said = {**GOOD[api], path: odd}
        backend = Remote(address, api, max_retries=0).start("tiny", "embedding")

        with pytest.raises(BackendError, match=f"{address}") as caught:  # it never embeds
            backend.open().result(60)

        backend.close()
        assert "could not be used: " not in str(caught.value), (path, odd)


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_server_of_this_project_that_describes_itself_oddly_is_an_error_in_words(
    server: DescribingServer, every: int
) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    said: list[Capabilities] = []
    errors: list[str] = []
    for odd in [OWN, *changed(OWN)][::every]:
        server.said = {"/info": odd}
        backend = Remote(address, "qwen3-rag", max_retries=0).start("tiny", "embedding")
        try:
            said.append(backend.open().result(60))
        except BackendError as error:
            errors.append(str(error))
        backend.close()

    assert len(errors) > len(said) >= 1
    assert all(address in error for error in errors)
    for one in said:
        assert isinstance(one.fingerprint, str)
        assert min(one.dim, one.context) >= 1
        hash(one)  # of plain values


FOLDER = qwen3_rag_tiny.embedding_folder()


class BusyServer(VLLMServer):
    """Is busy for the first requests."""

    busy = 3

    def routes(self) -> dict[str, Route]:
        if len(self.asked) <= self.busy:
            raise Rejected(503, {"error": "loading"})
        return dict(super().routes())


def test_a_server_that_is_busy_is_not_taken_for_another() -> None:
    with BusyServer(FOLDER, "embedding") as server:
        backend = Remote(server.url).start("tiny", "embedding")
        capabilities = backend.open().result(60)
        backend.close()

    assert str(capabilities.server).startswith("vllm at")


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_a_server_that_stays_busy_is_an_error_before_it_is_taken_for_any(role: Role) -> None:
    server = BusyServer(FOLDER, "embedding")
    server.busy = 1_000
    with server:
        backend = Remote(server.url, max_retries=1).start("tiny", role)

        with pytest.raises(BackendError, match=r"in 2 attempts.*status 503: loading"):
            backend.open().result(60)

        backend.close()
    assert len(server.asked) == 2
