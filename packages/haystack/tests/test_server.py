"""Models on a server: Haystack's parameters for it, and what pipelines keep of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
from haystack import Pipeline
from haystack.utils import Secret

from haystack_integrations.components.embedders.qwen3_rag import (
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from qwen3_rag import InputTypeError
from qwen3_rag.integration import ModelBase
from qwen3_rag_testkit.server_fields_contract import KEY, URL, ServerFieldsContract

KINDS = [Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker]


class Fields(ServerFieldsContract):
    address = "api_base_url"
    kind: ClassVar[Any]

    @pytest.fixture(autouse=True)
    def _with_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_KEY", KEY)

    def make(self, **fields: Any) -> Any:
        if "api_key" in fields:
            fields["api_key"] = Secret.from_env_var("MY_KEY")
        return self.kind(**fields)

    def core(self, adapter: Any) -> ModelBase:
        model: ModelBase = adapter.get_model()
        return model

    def forms(self, adapter: Any) -> Mapping[str, tuple[str, Callable[[], Any]]]:
        pipeline = Pipeline()
        pipeline.add_component("it", adapter)
        written, data = pipeline.dumps(), adapter.to_dict()
        return {
            "yaml": (written, lambda: Pipeline.loads(written).get_component("it")),
            "dict": (str(data), lambda: self.kind.from_dict(data)),
        }


class TestTextEmbedder(Fields):
    kind = Qwen3TextEmbedder


class TestDocumentEmbedder(Fields):
    kind = Qwen3DocumentEmbedder


class TestRanker(Fields):
    kind = Qwen3Ranker


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_was_given_directly_refuses_to_be_written(kind: Any) -> None:
    component = kind(api_base_url=URL, api_key=Secret.from_token(KEY))

    assert component.get_model()._spec.api_key.reveal() == KEY
    with pytest.raises(ValueError, match="Cannot serialize token-based secret"):
        component.to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_was_given_directly_is_in_copies_and_in_no_pickle(kind: Any) -> None:
    component = kind(api_base_url=URL, api_key=Secret.from_token(KEY))

    pickled = pickle.dumps(component)

    assert KEY.encode() not in pickled
    assert pickle.loads(pickled).api_base_url == URL
    for copied in (copy.copy(component), copy.deepcopy(component)):
        assert copied.get_model()._spec.api_key.reveal() == KEY


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_no_secret_is_refused_without_showing_it(kind: Any) -> None:
    with pytest.raises(InputTypeError, match="`api_key` must be a Haystack Secret") as caught:
        kind(api_base_url=URL, api_key=KEY)

    assert KEY not in str(caught.value)
