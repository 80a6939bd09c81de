"""What holds for the fields of an adapter whose model runs on a server."""

from __future__ import annotations

import copy
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.cache import cache_info
from qwen3_rag.integration import KEY_VARIABLE, ModelBase, arguments_of
from qwen3_rag_testkit.backends import DeterministicBackend

__all__ = ["ServerFieldsContract"]

URL = "http://127.0.0.1:1/v1"
KEY = "k-4711"
OPTIONS: dict[str, Any] = {
    "api": "vllm",
    "served_model": "embed",
    "revision": "2026-11",
    "timeout": 7.0,
    "max_retries": 0,
    "concurrency": 3,
    "headers": {"X-Team": "search", "X-Api-Key": KEY},
}


class ServerFieldsContract(ABC):
    """Inherit, and define the abstract methods for one adapter.

    Attributes:
        address: The adapter's field for the server's address.
    """

    address: ClassVar[str]

    @abstractmethod
    def make(self, **fields: Any) -> Any:
        """Make an adapter; `api_key` is a string, to be wrapped as the framework wants it."""

    @abstractmethod
    def core(self, adapter: Any) -> ModelBase:
        """Return the core's model of an adapter."""

    @abstractmethod
    def forms(self, adapter: Any) -> Mapping[str, tuple[str, Callable[[], Any]]]:
        """Write an adapter down in each of the framework's ways; texts, and what reads them."""

    @pytest.fixture(autouse=True)
    def _without_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(KEY_VARIABLE, raising=False)

    def on_server(self, **fields: Any) -> Any:
        """Make an adapter of a model on a server."""
        return self.make(**{self.address: URL, **fields})

    def backend(self, adapter: Any) -> Any:
        """Return the specification that the adapter's model runs by."""
        return arguments_of(self.core(adapter))["backend"]

    def test_every_field_reaches_the_client(self) -> None:
        adapter = self.on_server(**OPTIONS, api_key=KEY, cache="vectors.cache")

        found = self.backend(adapter)

        named = {**OPTIONS, "model": OPTIONS["served_model"]}
        del named["served_model"]
        assert found == Remote(URL, **named)
        assert self.sent(found) == KEY
        assert arguments_of(self.core(adapter))["cache"] == "vectors.cache"
        assert self.backend(self.on_server()) == Remote(URL)

    def test_what_is_written_keeps_the_server_and_the_cache_and_no_secret(self) -> None:
        adapter = self.on_server(**OPTIONS, api_key=KEY, cache="vectors.cache")
        kept = {**OPTIONS, "headers": {"X-Team": "search"}}
        expected = self.on_server(**kept, cache="vectors.cache")
        pickled = pickle.dumps(adapter)
        ways = {
            **self.forms(adapter),
            "pickle": (repr(pickled), lambda: pickle.loads(pickled)),
            "repr": (repr(adapter) + str(adapter), lambda: expected),
        }

        for name, (text, read) in ways.items():
            again = read()
            assert KEY not in text, name
            assert self.backend(again) == self.backend(expected), name
            assert arguments_of(self.core(again))["cache"] == "vectors.cache", name

    def test_copies_keep_the_secrets(self) -> None:
        adapter = self.on_server(**OPTIONS, api_key=KEY)

        for copied in (copy.copy(adapter), copy.deepcopy(adapter)):
            found = self.backend(copied)
            assert found == self.backend(adapter)
            assert self.sent(found) == KEY

    def test_the_key_may_be_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(KEY_VARIABLE, KEY)

        adapter = self.on_server()
        pickled = pickle.dumps(adapter)

        assert self.sent(self.backend(adapter)) == KEY
        assert self.sent(self.backend(pickle.loads(pickled))) == KEY
        assert KEY.encode() not in pickled
        assert not any(KEY in text for text, _ in self.forms(adapter).values())
        assert "backend" not in arguments_of(self.core(self.make()))  # not without a server

    def test_a_server_and_a_backend_exclude_each_other(self) -> None:
        with pytest.raises(InputError, match=f"`{self.address}` and `backend` both"):
            self.on_server(backend=DeterministicBackend())

    @pytest.mark.parametrize("name", [name for name in OPTIONS if name != "revision"])
    def test_an_option_of_a_server_is_of_no_use_without_one(self, name: str) -> None:
        with pytest.raises(InputError, match=f"`{name}`.*Give `{self.address}` too"):
            self.make(**{name: OPTIONS[name]})

    def test_a_key_is_of_no_use_without_a_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InputError, match=f"`api_key`.*Give `{self.address}` too"):
            self.make(api_key=KEY)
        with pytest.raises(InputError, match=r"`api_key`.*Give it to `backend`"):
            self.make(api_key=KEY, backend=Remote(URL))
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        for made in (self.make(), self.make(backend=Remote(URL))):  # nobody asked for that one
            assert self.core(made).role
            for _, read in self.forms(made).values():
                assert self.core(read()).role

    @pytest.mark.parametrize("empty", ["", " "])
    def test_an_empty_variable_is_none(self, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
        monkeypatch.setenv(KEY_VARIABLE, empty)

        found = self.backend(self.on_server())

        assert found.api_key_env is None
        assert found.api_key is None or found.api_key.reveal() == ""

    @pytest.mark.parametrize("name", ["timeoutt", "concurency", "dtypee"])
    def test_a_misspelt_option_is_told_with_the_right_one(self, name: str) -> None:
        meant = {"timeoutt": "timeout", "concurency": "concurrency", "dtypee": "dtype"}[name]
        with pytest.raises((InputError, ValueError), match=f"{name}.*Did you mean '{meant}'"):
            self.on_server(**{name: 1})

    @pytest.mark.parametrize("name", ["cache", "served_model"])
    @pytest.mark.parametrize("value", [5, " "])
    def test_what_is_no_name_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=name):
            self.on_server(**{name: value})

    def test_messages_name_the_fields(self) -> None:
        with pytest.raises(InputError, match=r"Leave them out and give `api_key`\.") as caught:
            self.on_server(**{self.address: "http://u:pw4711@host"})
        assert f"`{self.address}` holds" in str(caught.value)
        assert "4711" not in str(caught.value)

    def test_options_of_the_local_engine_are_of_no_use_with_one(self) -> None:
        with pytest.raises(InputError, match="`dtype` cannot be combined"):
            self.on_server(dtype="float32")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"api": "vLLM"}, "`api` must be one of .*vllm"),
            ({"timeout": 0}, "`timeout`"),
            ({"concurrency": 0}, "`concurrency`"),
        ],
    )
    def test_values_out_of_range_are_refused(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            self.on_server(**fields)
        with pytest.raises(InputError, match=f"`{self.address}` must be like 'http://"):
            self.make(**{self.address: "localhost:8000"})

    def test_a_model_on_a_server_gives_the_same_numbers_and_they_are_kept(
        self, tmp_path: Path
    ) -> None:
        pytest.importorskip("transformers", reason="the stand-ins compute with transformers")
        import qwen3_rag_tiny
        from qwen3_rag_testkit.own_servers import VLLMServer

        with self.core(self.make(model="tiny")) as here:
            folder = getattr(qwen3_rag_tiny, f"{here.role}_folder")()
            expected = _numbers(here)
        file = tmp_path / "kept"
        with VLLMServer(folder, here.role, api_key=KEY) as server:
            fields = {self.address: server.url, "api_key": KEY, "cache": file}
            with self.core(self.make(model="tiny", **fields)) as there:
                found = _numbers(there)
        assert found == pytest.approx(expected, abs=1e-4)
        assert cache_info(file).entries == 1

    def sent(self, backend: Remote) -> str:
        """Return the key that a specification sends."""
        if backend.api_key_env is not None:
            return os.environ[backend.api_key_env]
        key: str = backend.api_key.reveal()
        return key


def _numbers(model: ModelBase) -> list[float]:
    if isinstance(model, Qwen3Embedder):
        numbers: list[float] = model.embed_queries(["a query"])[0].tolist()
        return numbers
    assert isinstance(model, Qwen3Reranker)
    return list(model.score([("a query", "a document")]))
