"""Models on a server: LangChain's fields for it, and what `dumps` writes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
from langchain_core.load import dumps, loads
from pydantic import SecretStr, ValidationError

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank
from qwen3_rag.integration import KEY_VARIABLE, ModelBase
from qwen3_rag_testkit.server_fields_contract import KEY, URL, ServerFieldsContract

# LangChain says so of `loads` on every call.
pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")

Kind = type[Qwen3Embeddings] | type[Qwen3Rerank]
both = pytest.mark.parametrize("kind", [Qwen3Embeddings, Qwen3Rerank])


def load(text: str, kind: Any, **settings: Any) -> Any:
    return loads(text, allowed_objects=[kind], valid_namespaces=["langchain_qwen3_rag"], **settings)


class Fields(ServerFieldsContract):
    address = "base_url"
    kind: ClassVar[Any]

    def make(self, **fields: Any) -> Any:
        return self.kind(**fields)

    def forms(self, adapter: Any) -> Mapping[str, tuple[str, Callable[[], Any]]]:
        written, dumped = dumps(adapter), adapter.model_dump()
        return {
            "dumps": (written, lambda: load(written, self.kind)),
            "dump": (str(dumped), lambda: self.kind(**dumped)),
            "json": (adapter.model_dump_json(), lambda: self.kind(**dumped)),
        }


class TestEmbeddings(Fields):
    kind = Qwen3Embeddings

    def core(self, adapter: Any) -> ModelBase:
        embedder: ModelBase = adapter.embedder
        return embedder


class TestRerank(Fields):
    kind = Qwen3Rerank

    def core(self, adapter: Any) -> ModelBase:
        reranker: ModelBase = adapter.reranker
        return reranker


@both
def test_dumps_names_the_variable_of_the_key(kind: Kind) -> None:
    written = dumps(kind(base_url=URL, api_key=SecretStr(KEY)))

    secret = json.loads(written)["kwargs"]["api_key"]
    assert secret == {"lc": 1, "type": "secret", "id": [KEY_VARIABLE]}
    again = load(written, kind, secrets_map={KEY_VARIABLE: KEY})
    assert again.api_key.get_secret_value() == KEY


@both
def test_errors_do_not_show_a_key_or_header(kind: Kind) -> None:
    adapter: Any = kind(base_url=URL)
    for name, value in (("api_key", KEY), ("headers", {"X-Api-Key": KEY})):
        with pytest.raises(ValidationError) as caught:
            setattr(adapter, name, value)
        assert KEY not in str(caught.value)


def test_cache_keys_are_of_one_model_on_one_server() -> None:
    pytest.importorskip("transformers", reason="the stand-ins compute with transformers")
    import qwen3_rag_tiny
    from qwen3_rag_testkit.own_servers import VLLMServer

    folder = qwen3_rag_tiny.embedding_folder()
    with VLLMServer(folder, "embedding") as one, VLLMServer(folder, "embedding") as other:
        spaces = [
            Qwen3Embeddings(model="tiny", **settings).cache_namespace
            for settings in (
                {"base_url": one.url},
                {"base_url": one.url, "api": "vllm", "timeout": 7, "cache": "kept"},
                {"base_url": other.url},
                {"base_url": one.url, "revision": "2"},
            )
        ]

    assert spaces[0] == spaces[1]
    assert len(set(spaces)) == 3
