"""Keys of servers: sent with each request, and in no representation, pickle or dictionary."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, InputError, Qwen3Embedder, Remote
from qwen3_rag.backends import BackendSpec

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.model_server import ModelServer
from qwen3_rag_testkit.own_servers import VLLMServer

KEY = "k-4711"


class Pydantics:
    """What pydantic's `SecretStr` has."""

    def get_secret_value(self) -> str:
        return KEY


class Haystacks:
    """What Haystack's `Secret` has."""

    def __init__(self, value: str | None = KEY) -> None:
        self.value = value

    def resolve_value(self) -> str | None:
        if self.value == "missing":
            raise ValueError("None of the environment variables are set: ('SOME_KEY',)")
        return self.value


GIVEN = [
    pytest.param({"api_key": KEY}, id="string"),
    pytest.param({"api_key": f"{KEY}\n"}, id="from a file"),
    pytest.param({"api_key": Pydantics()}, id="pydantic"),
    pytest.param({"api_key": Haystacks()}, id="haystack"),
    pytest.param({"api_key_env": "SOME_KEY"}, id="environment"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with VLLMServer(qwen3_rag_tiny.embedding_folder(), "embedding", api_key=KEY) as server:
        yield server


@pytest.mark.parametrize("given", GIVEN)
def test_a_key_is_sent(
    server: ModelServer, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)

    with Qwen3Embedder("tiny", backend=Remote(server.url, **given)) as embedder:
        assert embedder.warm_up().dim == 512


def test_a_variable_is_read_with_each_request(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "k-4710")
    with Qwen3Embedder("tiny", backend=Remote(server.url, api_key_env="SOME_KEY")) as embedder:
        with pytest.raises(BackendError, match="refuses the key"):
            embedder.warm_up()

        monkeypatch.setenv("SOME_KEY", KEY)

        assert embedder.embed_documents(["a"]).shape == (1, 512)


def test_a_secret_without_a_value_sends_no_key(server: ModelServer) -> None:
    remote = Remote(server.url, api_key=Haystacks(None))

    with (
        Qwen3Embedder("tiny", backend=remote) as embedder,
        pytest.raises(BackendError, match="refuses a request without a key"),
    ):
        embedder.warm_up()


def test_a_secret_that_cannot_be_read_says_why(server: ModelServer) -> None:
    remote = Remote(server.url, api_key=Haystacks("missing"))

    with (
        Qwen3Embedder("tiny", backend=remote) as embedder,
        pytest.raises(InputError, match="SOME_KEY"),
    ):
        embedder.warm_up()


@pytest.mark.parametrize("given", GIVEN[:-1])
def test_a_key_is_in_no_representation_pickle_or_dictionary(given: dict[str, Any]) -> None:
    headers = {"X-Api-Key": KEY, "X-Team": "search"}
    remote = Remote("http://127.0.0.1:1", headers=headers, **given)

    shown = [repr(remote), repr(vars(remote)["api_key"]), json.dumps(remote.to_dict())]
    assert not any("4711" in text for text in [*shown, repr(pickle.dumps(remote))])
    again = pickle.loads(pickle.dumps(remote))
    assert again == Remote("http://127.0.0.1:1", headers={"X-Team": "search"})
    assert again.api_key is None
    assert BackendSpec.from_dict(remote.to_dict()) == again


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "4711") for name in ("Cookie", "X-Api-Key", "Proxy-Authorization", "X-Jwt")),
        *((name, "4711") for name in ("X-Password", "X-Credential", "X-Session-Id")),
        *((name, "4711") for name in ("X-Bearer", "X-Goog-Signature", "X-Secret", "X-Amz-Token")),
        ("X-Upstream", "Bearer 4711"),
        ("X-Upstream", "basic 4711"),
    ],
)
def test_a_header_with_a_secret_is_in_nothing_that_is_written(name: str, text: str) -> None:
    remote = Remote("http://127.0.0.1:1", headers={name: text, "X-Team": "search"})

    assert "4711" not in repr(remote) + json.dumps(remote.to_dict()) + repr(pickle.dumps(remote))
    assert pickle.loads(pickle.dumps(remote)).headers == {"X-Team": "search"}


def test_a_key_that_pydantic_has_masked_is_refused() -> None:
    with pytest.raises(InputError, match="in place of a secret"):
        Remote("http://127.0.0.1:1", api_key="**********")


def test_copies_keep_the_key_and_pickles_the_name_of_its_variable() -> None:
    remote = Remote("http://127.0.0.1:1", api_key=KEY, headers={"X-Api-Key": KEY})

    for copied in (copy.copy(remote), copy.deepcopy(remote)):
        assert copied.api_key.reveal() == KEY
        assert copied.headers == {"X-Api-Key": KEY}
    named = Remote("http://127.0.0.1:1", api_key_env="SOME_KEY", max_retries=0)
    assert pickle.loads(pickle.dumps(named)) == BackendSpec.from_dict(named.to_dict()) == named
