"""Settings in dictionaries, copies and pickles.

Each test runs for the embedding model and the reranker alike.
"""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.llama_debug import LlamaDebugHandler
from llama_index.core.schema import BaseComponent, NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.embeddings.qwen3_rag.component import Qwen3Component
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from qwen3_rag import InputError
from qwen3_rag.integration import adapter_options, local_options
from qwen3_rag_testkit.backends import DeterministicBackend

# Another value than the default for every field but LlamaIndex's live objects: a field added later
# fails `test_every_field_is_tried_here` until it is here.
SHARED: dict[str, Any] = {
    "instruction": "Find code",
    "max_length": 512,
    "cache": "vectors.cache",
    "revision": "v2",
    "device": ("cpu", "cpu"),
    "dtype": "bfloat16",
    "attention": "eager",
    "batch_tokens": 1_000,
    "compile": True,
    "cache_folder": "elsewhere",
    "local_files_only": True,
    "model_kwargs": {"use_cache": False},
}
BACKEND = DeterministicBackend(dim=128)
OTHER: dict[type[Qwen3Component], dict[str, Any]] = {
    Qwen3Embedding: {
        **SHARED,
        "model_name": "tiny",
        "dim": 64,
        "query_template": "Task: {instruction}\n{text}",
        "document_prefix": "- ",
        "embed_batch_size": 16,
        "num_workers": 3,
    },
    Qwen3Rerank: {
        **SHARED,
        "model": "tiny",
        "top_n": 3,
        "min_score": -20.0,
        "max_query_tokens": 50,
        "max_document_tokens": 100,
        "score": "logit",
        "metadata_mode": "none",
        "keep_retrieval_score": True,
    },
}
LIVE = {"callback_manager", "rate_limiter", "embeddings_cache"}
# Fields of a model on a server; see test_server.py.
SERVER = {"api_base", "api_key", *adapter_options()} - set(local_options())
# The same with a backend, and so without options of the local engine. They are used, and so without
# a file.
REMOTE: dict[type[Qwen3Component], dict[str, Any]] = {
    kind: {
        **{
            name: value for name, value in fields.items() if name not in {*local_options(), "cache"}
        },
        "backend": BACKEND,
    }
    for kind, fields in OTHER.items()
}

KINDS = pytest.mark.parametrize("kind", [Qwen3Embedding, Qwen3Rerank])


def tiny(kind: Any, **fields: Any) -> Any:
    return kind(**{kind.model_field: "tiny"}, **fields)


def around(kind: Any, model: Any, **fields: Any) -> Any:
    """An adapter made of a core model."""
    make = kind.from_embedder if kind is Qwen3Embedding else kind.from_reranker
    return make(model, **fields)


def fields_of(component: Any) -> dict[str, Any]:
    """All fields but LlamaIndex's live objects, which are equal to themselves alone."""
    return {name: getattr(component, name) for name in set(type(component).model_fields) - LIVE}


def use(component: BaseComponent) -> object:
    """What the model says to one query and one text."""
    if isinstance(component, Qwen3Embedding):
        return component.get_query_embedding("what"), component.get_text_embedding("this")
    assert isinstance(component, Qwen3Rerank)
    nodes = [NodeWithScore(node=TextNode(text="this"))]
    return component.postprocess_nodes(nodes, query_str="what")[0].score


@KINDS
def test_every_field_is_tried_here(kind: Any) -> None:
    assert set(kind.model_fields) - LIVE - SERVER - {"token", "backend"} == set(OTHER[kind])
    default = kind().to_dict()
    assert all(default[name] != value for name, value in OTHER[kind].items())


@KINDS
@pytest.mark.parametrize("fields", [OTHER, REMOTE], ids=["local", "backend"])
@pytest.mark.parametrize("way", ["dict", "json", "pickle", "deepcopy", "copy", "validate"])
def test_every_field_survives(kind: Any, way: str, fields: dict[Any, dict[str, Any]]) -> None:
    component = kind(**fields[kind])

    ways = {
        "dict": lambda: kind.from_dict(component.to_dict()),
        "json": lambda: kind.from_json(component.to_json()),
        "pickle": lambda: pickle.loads(pickle.dumps(component)),
        "deepcopy": lambda: copy.deepcopy(component),
        "copy": lambda: component.model_copy(),
        "validate": lambda: kind.model_validate(component.model_dump()),
    }
    again = ways[way]()

    assert type(again) is kind
    for name, value in fields[kind].items():
        assert getattr(again, name) == value, name
    assert fields_of(again) == fields_of(component)
    assert again.to_dict() == component.to_dict()
    assert again.backend is None or use(again) == use(component)


@KINDS
def test_the_dictionary_is_plain_and_names_the_class(kind: Any) -> None:
    for fields in (OTHER[kind], REMOTE[kind]):
        data = kind(**fields).to_dict()

        assert data["class_name"] == kind.class_name() == kind.__name__
        assert kind.from_json(json.dumps(data)).to_dict() == data


# What version 0.1.0 wrote, before there was a field `backend`.
STORED: dict[type[Qwen3Component], str] = {
    Qwen3Embedding: """{"model_name": "tiny", "embed_batch_size": 16, "num_workers": 3,
        "instruction": "Find code", "max_length": 512, "revision": "v2", "device": ["cpu", "cpu"],
        "dtype": "bfloat16", "attention": "eager", "batch_tokens": 1000, "compile": true,
        "cache_folder": "elsewhere", "local_files_only": true,
        "model_kwargs": {"use_cache": false}, "dim": 64, "class_name": "Qwen3Embedding"}""",
    Qwen3Rerank: """{"instruction": "Find code", "max_length": 512, "revision": "v2",
        "device": ["cpu", "cpu"], "dtype": "bfloat16", "attention": "eager", "batch_tokens": 1000,
        "compile": true, "cache_folder": "elsewhere", "local_files_only": true,
        "model_kwargs": {"use_cache": false}, "model": "tiny", "top_n": 3, "max_query_tokens": 50,
        "max_document_tokens": 100, "score": "logit", "metadata_mode": "none",
        "keep_retrieval_score": true, "class_name": "Qwen3Rerank"}""",
}


@KINDS
def test_stored_dictionaries_are_still_read(kind: Any) -> None:
    stored = json.loads(STORED[kind])

    for again in (kind.from_dict(stored), kind.model_validate(stored)):
        later = {
            Qwen3Embedding: ("query_template", "document_prefix", "cache"),
            Qwen3Rerank: ("min_score", "cache"),
        }
        known = {**OTHER[kind], **dict.fromkeys(later[kind])}  # not there in 0.1.0
        assert fields_of(again) == fields_of(kind(**known))
    plain = {"class_name": kind.__name__, "model_kwargs": {}, "device": None, "compile": False}
    assert kind.from_dict({**plain, kind.model_field: "tiny"}).warm_up().model == "tiny"
    with pytest.raises(InputError, match="around a model that was already open"):
        kind.from_dict({**stored, "given_model": "0123"})


@KINDS
def test_the_token_is_shown_nowhere_and_goes_to_workers(kind: Any) -> None:
    component = kind(token="hf_secret")

    shown = [repr(component), str(component), component.to_json(), str(component.model_dump())]
    assert "hf_secret" not in "".join(shown)
    again = pickle.loads(pickle.dumps(component))
    assert again.token.get_secret_value() == "hf_secret"
    assert fields_of(again) == fields_of(component)


@KINDS
def test_pickles_hold_settings_and_no_weights(kind: Any) -> None:
    component = tiny(kind)
    expected = use(component)

    pickled = pickle.dumps(component)
    again = pickle.loads(pickled)

    assert len(pickled) < 20_000
    assert use(again) == expected
    again.close()
    component.close()


@KINDS
def test_pickling_leaves_live_objects_behind_and_on_the_original(
    kind: Any,
) -> None:
    manager = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
    manager.unpicklable = lambda: None  # type: ignore[attr-defined]  # as a tracer's client is
    component = kind(callback_manager=manager)

    again = pickle.loads(pickle.dumps(component))

    assert again.callback_manager.handlers == []
    assert component.callback_manager is manager


@KINDS
def test_a_setting_that_cannot_be_pickled_is_an_error(kind: Any) -> None:
    component = kind(model_kwargs={"hook": lambda: None})

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(component)


@KINDS
def test_from_a_core_model_takes_over_its_arguments(kind: Any) -> None:
    settings: dict[str, Any] = {
        **SHARED,
        **({"dim": 64} if kind is Qwen3Embedding else {"max_query_tokens": 50}),
    }

    component = around(kind, kind.model_class("tiny", token="hf_secret", **settings))

    assert {name: getattr(component, name) for name in settings} == settings
    assert component.token.get_secret_value() == "hf_secret"
    assert pickle.loads(pickle.dumps(component)).to_dict() == component.to_dict()


def test_a_cache_s_store_is_no_part_of_the_settings() -> None:
    model = Qwen3Embedding(embeddings_cache=SimpleKVStore())

    assert model.to_dict() == Qwen3Embedding().to_dict()
    assert json.loads(model.to_json())
