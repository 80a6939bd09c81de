"""Models on a server: LlamaIndex's fields for it, and what dictionaries keep of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from qwen3_rag.integration import ModelBase
from qwen3_rag_testkit.server_fields_contract import KEY, URL, ServerFieldsContract

KINDS = pytest.mark.parametrize("kind", [Qwen3Embedding, Qwen3Rerank])


class Fields(ServerFieldsContract):
    address = "api_base"
    kind: ClassVar[Any]

    def make(self, **fields: Any) -> Any:
        model = fields.pop("model", None)
        return self.kind(**fields, **({self.kind.model_field: model} if model else {}))

    def core(self, adapter: Any) -> ModelBase:
        model: ModelBase = adapter._open()
        return model

    def forms(self, adapter: Any) -> Mapping[str, tuple[str, Callable[[], Any]]]:
        data, text, dumped = adapter.to_dict(), adapter.to_json(), adapter.model_dump()
        return {
            "dict": (str(data), lambda: self.kind.from_dict(data)),
            "json": (text, lambda: self.kind.from_json(text)),
            "dump": (str(dumped), lambda: self.kind.model_validate(dumped)),
        }


class TestEmbedding(Fields):
    kind = Qwen3Embedding


class TestRerank(Fields):
    kind = Qwen3Rerank


@KINDS
def test_a_changed_address_is_used_and_a_wrong_one_refused(kind: Any) -> None:
    adapter = kind(api_base=URL, api_key=KEY)

    adapter.api_base = "http://127.0.0.1:2"

    assert adapter._open()._spec.base_url == "http://127.0.0.1:2"
    with pytest.raises(ValueError, match="`api_base` must be like"):
        adapter.api_base = "localhost"
    assert adapter.api_base == "http://127.0.0.1:2"


@KINDS
def test_errors_do_not_show_a_key(kind: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        kind(api_base=URL, api_key=[KEY])

    assert KEY not in str(caught.value)


def test_observers_get_no_secret() -> None:
    model = Qwen3Embedding(api_base=URL, api_key=KEY, headers={"X-Api-Key": KEY})

    assert KEY not in str(model.to_payload())
