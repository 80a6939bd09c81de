"""Pipelines written down and read back: every parameter of every component, whichever there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from haystack import Pipeline
from haystack.core.errors import DeserializationError, SerializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import FilterPolicy
from haystack.utils import ComponentDevice, Secret
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.components.embedders import qwen3_rag as embedders
from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers import qwen3_rag as rankers
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers import qwen3_rag as retrievers
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
from qwen3_rag import Qwen3Embedder, Qwen3Reranker

#: For each parameter a value that is not its default.
VALUES: dict[str, Callable[[], Any]] = {
    "model": lambda: "some/model",
    "dim": lambda: 64,
    "instruction": lambda: "Find laws\nand »décrets«",
    "max_length": lambda: 512,
    "max_query_tokens": lambda: 30,
    "max_document_tokens": lambda: 300,
    "revision": lambda: "v2",
    "device": lambda: ["cuda:0", "cuda:1"],
    "dtype": lambda: "bfloat16",
    "attention": lambda: "eager",
    "batch_tokens": lambda: 4_096,
    "compile": lambda: True,
    "cache_folder": lambda: "models",
    "local_files_only": lambda: True,
    "token": lambda: Secret.from_env_var("MY_TOKEN", strict=True),
    "model_kwargs": lambda: {"use_cache": False, "rope": {"type": "yarn", "factors": [1.0]}},
    "meta_fields_to_embed": lambda: ["title", "page"],
    "embedding_separator": lambda: " | ",
    "progress_bar": lambda: None,
    "top_k": lambda: 7,
    "score_threshold": lambda: 0.0,
    "scale_score": lambda: False,
    "k1": lambda: 0.9,
    "b": lambda: 0.4,
    "avg_len": lambda: 20.0,
    "document_store": lambda: QdrantDocumentStore(
        ":memory:", embedding_dim=64, use_sparse_embeddings=True, sparse_idf=True, index="laws"
    ),
    "text_embedder": lambda: full(Qwen3TextEmbedder),
    "ranker": lambda: full(Qwen3Ranker),
    "filters": lambda: {"field": "meta.page", "operator": ">", "value": 3},
    "candidates": lambda: 33,
    "rerank_depth": lambda: 22,
    "fusion": lambda: "relative_score",
    "weights": lambda: {"dense": 2.0},
    "k": lambda: 10,
    "filter_policy": lambda: FilterPolicy.MERGE,
}

COMPONENTS = [
    getattr(package, name)
    for package in (embedders, rankers, retrievers)
    for name in package.__all__
]


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    init: Any = kind.__init__  # type: ignore[misc]  # of the class; its metaclass hides it
    if init is object.__init__:
        return {}
    return dict(list(inspect.signature(init).parameters.items())[1:])


def full(kind: type) -> Any:
    """A component with no parameter at its default."""
    settings = {}
    for name, parameter in parameters(kind).items():
        value = VALUES[name]()
        settings[name] = not parameter.default if name == "progress_bar" else value
        assert settings[name] != parameter.default, f"choose another value for {name!r}"
    return kind(**settings)


def settings_of(component: Any) -> dict[str, Any]:
    """The attributes of a component by its parameters' names, and so those of components in it."""
    settings = {name: getattr(component, name) for name in parameters(type(component))}
    return {
        name: (type(value), settings_of(value))
        if name in ("text_embedder", "ranker")
        else value.to_dict()
        if name == "document_store"
        else value
        for name, value in settings.items()
    }


@pytest.mark.parametrize("kind", COMPONENTS)
def test_yaml_keeps_every_parameter_under_the_default_allowlist(kind: type) -> None:
    component = full(kind)
    pipeline = Pipeline()
    pipeline.add_component("it", component)

    text = pipeline.dumps()
    loaded = Pipeline.loads(text)

    again = loaded.get_component("it")
    assert type(again) is kind
    assert settings_of(again) == settings_of(component)
    assert loaded.dumps() == text


@pytest.mark.parametrize("kind", COMPONENTS)
def test_defaults_survive_too(kind: type) -> None:
    needed: dict[str, Any] = (
        {"document_store": InMemoryDocumentStore(), "text_embedder": Qwen3TextEmbedder()}
        if kind is Qwen3HybridRetriever
        else {}
    )
    pipeline = Pipeline()
    pipeline.add_component("it", kind(**needed))

    again = Pipeline.loads(pipeline.dumps()).get_component("it")

    assert settings_of(again) == settings_of(kind(**needed))


@pytest.mark.parametrize("kind", [Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker])
def test_parameters_that_a_file_lacks_have_their_defaults(kind: Any) -> None:
    data = {"type": f"{kind.__module__}.{kind.__name__}", "init_parameters": {}}

    assert settings_of(kind.from_dict(data)) == settings_of(kind())


@pytest.mark.parametrize("kind", COMPONENTS)
def test_classes_are_defined_where_haystack_allows(kind: type) -> None:
    assert kind.__module__.startswith("haystack_integrations.components.")


@pytest.mark.parametrize("kind", COMPONENTS)
def test_a_parameter_that_does_not_exist_is_refused(kind: type) -> None:
    data = {
        "type": f"{kind.__module__}.{kind.__name__}",
        "init_parameters": {"truncate_dim": 64},
    }

    with pytest.raises((TypeError, DeserializationError)):
        Pipeline.from_dict({"components": {"it": data}, "connections": []})


@pytest.mark.parametrize(
    ("kind", "door", "without"),
    [
        (Qwen3TextEmbedder, Qwen3Embedder, set()),
        (Qwen3DocumentEmbedder, Qwen3Embedder, {"instruction"}),
        (Qwen3Ranker, Qwen3Reranker, set()),
    ],
)
def test_components_have_every_setting_of_the_core(
    kind: type, door: type, without: set[str]
) -> None:
    core = inspect.signature(door).parameters
    ours = parameters(kind)

    assert core.keys() - ours.keys() == {"backend", *without}
    for name in core.keys() & ours.keys() - {"token"}:
        assert ours[name].default == core[name].default, name


def test_settings_reach_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hf_mine")
    component = full(Qwen3Ranker)

    door = component._open()

    assert door.settings is not None
    expected = {name: getattr(component, name) for name in door.settings}
    assert door.settings == {**expected, "token": "hf_mine", "device": ("cuda:0", "cuda:1")}
    assert door.settings.keys() == inspect.signature(Qwen3Reranker).parameters.keys() - {"backend"}
    component.close()


def test_a_device_that_was_left_open_stays_open() -> None:
    component = Qwen3TextEmbedder("tiny")
    component.warm_up()

    assert component.to_dict()["init_parameters"]["device"] is None
    component.close()


def test_a_device_of_haystack_is_saved_as_given() -> None:
    component = Qwen3TextEmbedder(device=ComponentDevice.from_str("cuda:1"))

    assert Qwen3TextEmbedder.from_dict(component.to_dict()).device == "cuda:1"


def test_a_device_in_haystacks_own_form_is_read() -> None:
    data = Qwen3TextEmbedder().to_dict()
    data["init_parameters"]["device"] = {"type": "single", "device": "cuda:1"}

    assert Qwen3TextEmbedder.from_dict(data).device == "cuda:1"


def test_a_token_given_as_it_is_is_never_written() -> None:
    component = Qwen3TextEmbedder(token=Secret.from_token("hf_secret"))

    with pytest.raises(ValueError, match="Cannot serialize token-based secret"):
        component.to_dict()


@pytest.mark.parametrize("make", [Qwen3TextEmbedder, Qwen3DocumentEmbedder])
def test_an_embedder_that_was_handed_over_is_not_written(
    make: type[Qwen3TextEmbedder], embedder: Qwen3Embedder
) -> None:
    pipeline = Pipeline()
    pipeline.add_component("it", make.from_embedder(embedder))

    with pytest.raises(
        SerializationError, match=f"Make it from its settings instead: {make.__name__}"
    ):
        pipeline.dumps()


def test_a_reranker_that_was_handed_over_is_not_written(reranker: Qwen3Reranker) -> None:
    with pytest.raises(SerializationError, match="Make it from its settings instead: Qwen3Ranker"):
        Qwen3Ranker.from_reranker(reranker).to_dict()


def test_a_retriever_with_a_model_that_was_handed_over_is_not_written(
    embedder: Qwen3Embedder,
) -> None:
    retriever = Qwen3HybridRetriever(
        InMemoryDocumentStore(), Qwen3TextEmbedder.from_embedder(embedder)
    )

    with pytest.raises(SerializationError, match="This Qwen3TextEmbedder uses a model"):
        retriever.to_dict()


def test_a_file_can_be_read_and_written_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("torch", "transformers") else find(name, *rest),
    )
    pipeline = Pipeline()
    pipeline.add_component("it", full(Qwen3HybridRetriever))

    text = pipeline.dumps()
    component: Any = Pipeline.loads(text).get_component("it")

    with pytest.raises(ImportError, match=r'pip install "qwen3-rag\[local\]"'):
        Qwen3TextEmbedder("tiny").run("a query")
    assert component.top_k == 7


def test_the_lexical_query_embedder_needs_no_settings() -> None:
    pipeline = Pipeline()
    pipeline.add_component("query", BM25SparseTextEmbedder())
    pipeline.add_component("documents", BM25SparseDocumentEmbedder())

    assert Pipeline.loads(pipeline.dumps()).dumps() == pipeline.dumps()
