"""Settings as fields: checked, kept by dictionaries, copies and pickles, and followed when changed.

Each test runs for the embedding model and the reranker alike.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.llama_debug import LlamaDebugHandler
from llama_index.core.schema import BaseComponent, NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.embeddings.qwen3_rag.component import Qwen3Component
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from qwen3_rag import BackendError, InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag_testkit.backends import DeterministicBackend

# Another value than the default for every field but LlamaIndex's live objects: a field added later
# fails `test_every_field_is_tried_here` until it is here.
SHARED: dict[str, Any] = {
    "instruction": "Find code",
    "max_length": 512,
    "revision": "v2",
    "device": ("cpu", "cpu"),
    "dtype": "bfloat16",
    "attention": "eager",
    "batch_tokens": 1_000,
    "compile": True,
    "cache_folder": "elsewhere",
    "local_files_only": True,
    "model_kwargs": {"variant": "b"},
}
OTHER: dict[type[Qwen3Component], dict[str, Any]] = {
    Qwen3Embedding: {
        **SHARED,
        "model_name": "tiny",
        "dim": 64,
        "embed_batch_size": 16,
        "num_workers": 3,
    },
    Qwen3Rerank: {
        **SHARED,
        "model": "tiny",
        "top_n": 3,
        "max_query_tokens": 50,
        "max_document_tokens": 100,
        "score": "logit",
        "metadata_mode": "none",
        "keep_retrieval_score": True,
    },
}
LIVE = {"callback_manager", "rate_limiter", "embeddings_cache"}

KINDS = pytest.mark.parametrize("kind", [Qwen3Embedding, Qwen3Rerank])


def tiny(kind: Any, **fields: Any) -> Any:
    return kind(**{kind.model_field: "tiny"}, **fields)


def given(kind: Any, **settings: Any) -> Any:
    """An adapter around a door that no settings bring back."""
    if kind is Qwen3Embedding:
        backend = DeterministicBackend("embedding")
        return Qwen3Embedding.from_embedder(Qwen3Embedder("mine", backend=backend, **settings))
    backend = DeterministicBackend("reranking")
    return Qwen3Rerank.from_reranker(Qwen3Reranker("mine", backend=backend, **settings))


def use(component: BaseComponent) -> object:
    """What the model says to one query and one text."""
    if isinstance(component, Qwen3Embedding):
        return component.get_query_embedding("what"), component.get_text_embedding("this")
    assert isinstance(component, Qwen3Rerank)
    nodes = [NodeWithScore(node=TextNode(text="this"))]
    return component.postprocess_nodes(nodes, query_str="what")[0].score


@KINDS
def test_every_setting_of_the_door_is_a_field(kind: Any) -> None:
    parameters = set(inspect.signature(kind.door_class).parameters) - {"model", "backend"}

    assert parameters <= set(kind.model_fields)


@KINDS
def test_every_field_is_tried_here(kind: Any) -> None:
    assert set(kind.model_fields) - LIVE - {"token"} == set(OTHER[kind])
    default = kind().to_dict()
    assert all(default[name] != value for name, value in OTHER[kind].items())


@KINDS
@pytest.mark.parametrize("way", ["dict", "json", "pickle", "deepcopy", "copy", "validate"])
def test_every_field_survives(kind: Any, way: str) -> None:
    component = kind(**OTHER[kind])

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
    for name, value in OTHER[kind].items():
        assert getattr(again, name) == value, name
    assert again.to_dict() == component.to_dict()


@KINDS
def test_the_dictionary_is_plain_and_names_the_class(kind: Any) -> None:
    data = kind(**OTHER[kind]).to_dict()

    assert data["class_name"] == kind.class_name() == kind.__name__
    assert kind.from_json(json.dumps(data)).to_dict() == data


@KINDS
def test_the_token_is_shown_nowhere_and_goes_to_workers(kind: Any) -> None:
    component = kind(token="hf_secret")

    shown = [repr(component), str(component), component.to_json(), str(component.model_dump())]
    assert "hf_secret" not in "".join(shown)
    again = pickle.loads(pickle.dumps(component))
    assert again.token.get_secret_value() == "hf_secret"
    assert component._settings()["token"] == "hf_secret"


@KINDS
@pytest.mark.parametrize(
    "wrong", [{"instruction": " "}, {"instruction": 5}, {"no_such_field": 1}, {"device": 0}]
)
def test_no_error_shows_the_token(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        kind(token="hf_secret", **wrong)
    with pytest.raises(ValueError, match=r".") as validated:
        kind.model_validate({"token": "hf_secret", **wrong})

    assert "hf_secret" not in str(error.value) + str(validated.value)


@KINDS
def test_values_out_of_range_are_the_core_s_errors(kind: Any) -> None:
    with pytest.raises(InputError, match="`max_length` must be from 64 to 32768, got 5"):
        kind(max_length=5)
    other = "Reranker" if kind is Qwen3Embedding else "Embedding"
    with pytest.raises(InputError, match="Open it with Qwen3"):
        kind(**{kind.model_field: f"Qwen/Qwen3-{other}-0.6B"})
    with pytest.raises(ValidationError, match="must be a torch device"):
        kind(device=0)


def test_dim_is_checked_against_the_published_model() -> None:
    with pytest.raises(InputError, match="`dim` must be from 32 to 1024, got 2000"):
        Qwen3Embedding(dim=2_000)


@KINDS
def test_unknown_fields_are_refused(kind: Any) -> None:
    with pytest.raises(ValidationError, match=r"query_instruction\n  Extra inputs"):
        kind(query_instruction="Find code")


@KINDS
def test_torch_s_names_and_folders_become_strings(kind: Any) -> None:
    import torch

    component = kind(
        **{kind.model_field: Path("folder")}, device=torch.device("cpu"), dtype=torch.float32
    )

    assert (component.device, component.dtype) == ("cpu", "float32")
    assert getattr(component, kind.model_field) == "folder"
    assert json.loads(component.to_json())["device"] == "cpu"


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
def test_copies_close_apart(kind: Any) -> None:
    component = tiny(kind)
    expected = use(component)

    for twin in (copy.deepcopy(component), component.model_copy(), copy.copy(component)):
        assert use(twin) == expected
        twin.close()
        assert use(component) == expected
    component.close()


@KINDS
def test_a_closed_adapter_opens_again(kind: Any) -> None:
    with tiny(kind) as component:
        expected = use(component)

    assert use(component) == expected
    component.close()
    component.close()


@KINDS
def test_async_with_and_warm_up(kind: Any) -> None:
    async def opened() -> object:
        async with tiny(kind) as component:
            assert component.warm_up() == await component.awarm_up()
            return (await component.awarm_up()).role

    role = asyncio.run(opened())

    assert role == ("embedding" if kind is Qwen3Embedding else "reranking")


@KINDS
def test_a_changed_setting_counts_from_the_next_use(kind: Any) -> None:
    component = tiny(kind)
    before = use(component)
    component.instruction = "Find code"
    changed = use(component)

    assert changed != before
    assert use(tiny(kind, instruction="Find code")) == changed
    assert use(component.model_copy(update={"instruction": tiny(kind).instruction})) == before
    with pytest.raises(ValidationError, match="valid string"):
        component.instruction = 5
    component.close()


@KINDS
def test_from_a_core_door_takes_over_its_settings(kind: Any) -> None:
    settings: dict[str, Any] = {
        **SHARED,
        **({"dim": 64} if kind is Qwen3Embedding else {"max_query_tokens": 50}),
    }
    make = kind.from_embedder if kind is Qwen3Embedding else kind.from_reranker

    component: Any = make(kind.door_class("tiny", token="hf_secret", **settings))

    assert {name: getattr(component, name) for name in settings} == settings
    assert component.token.get_secret_value() == "hf_secret"
    assert pickle.loads(pickle.dumps(component)).to_dict() == component.to_dict()


@KINDS
def test_around_an_open_model_fields_say_its_settings(kind: Any) -> None:
    component = given(kind, instruction="Find code", max_length=512)

    assert (component.instruction, component.max_length) == ("Find code", 512)
    assert getattr(component, kind.model_field) == "mine"
    assert use(component) == use(copy.deepcopy(component)) == use(component.model_copy())


@KINDS
def test_around_an_open_model_it_cannot_leave_the_process(kind: Any) -> None:
    component = given(kind)

    with pytest.raises(BackendError, match="Save the model to a folder"):
        pickle.dumps(component)
    with pytest.raises(InputError, match="around a model that was already open"):
        kind.from_dict(component.to_dict())
    assert use(component)  # and is none the worse for it


@KINDS
def test_around_an_open_model_closing_leaves_it_open(kind: Any) -> None:
    component = given(kind)
    expected = use(component)

    component.close()

    assert use(component) == expected


@KINDS
def test_around_an_open_model_a_changed_setting_is_an_error(kind: Any) -> None:
    component = given(kind)

    component.instruction = "Find code"

    with pytest.raises(InputError, match="changed on the adapter: instruction"):
        use(component)


def test_a_cache_s_store_is_no_part_of_the_settings() -> None:
    model = Qwen3Embedding(embeddings_cache=SimpleKVStore())

    assert model.to_dict() == Qwen3Embedding().to_dict()
    assert json.loads(model.to_json())
