"""Pipelines saved and read again: every parameter of every component, whichever there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from haystack import Pipeline
from haystack.core.errors import DeserializationError, SerializationError
from haystack.core.serialization import DeserializationCallbacks
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
from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import adapter_options, arguments_of, local_options
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.imports import run_python


@dataclass(frozen=True)
class KeyedBackend(TextBackend):
    """A backend that has a secret, under the dotted name that a class has by default."""

    key: str = ""
    url: str = ""

    def __init__(self, key: str = "", url: str = "") -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "url", url)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "url": self.url}


#: For each parameter a value that is not its default.
VALUES: dict[str, Callable[[], Any]] = {
    "model": lambda: "some/model",
    "dim": lambda: 64,
    "instruction": lambda: "Find laws\nand »décrets«",
    "query_template": lambda: "Task: {instruction}\n{text}",
    "document_prefix": lambda: "- ",
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
    "backend": lambda: KeyedBackend("sk-secret", "http://server"),
    "cache": lambda: "vectors.cache",
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
    "fusion": lambda: "rrf",
    "weights": lambda: {"dense": 2.0},
    "k": lambda: 10,
    "filter_policy": lambda: FilterPolicy.MERGE,
}

COMPONENTS = [
    getattr(package, name)
    for package in (embedders, rankers, retrievers)
    for name in package.__all__
]


# Parameters that go with a searcher only, with which nothing can be written, and those of a model
# on a server, which are tried in test_server.py.
LEFT_OUT = {"ids", "tenant", "min_score", "group_by", "per_group", "api_base_url", "api_key"}
LEFT_OUT |= set(adapter_options()) - set(local_options())


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    init: Any = kind.__init__  # type: ignore[misc]  # of the class; its metaclass hides it
    if init is object.__init__:
        return {}
    given = list(inspect.signature(init).parameters.items())[1:]
    return {name: one for name, one in given if name not in LEFT_OUT}


def full(kind: type, *, backend: bool = False) -> Any:
    """A component with no parameter at its default.

    Options of the local engine exclude a backend, so one or the other keeps its default.
    """
    settings = {}
    for name, parameter in parameters(kind).items():
        if name in local_options() if backend else name == "backend":
            continue
        value = VALUES[name]()
        if backend and name in ("text_embedder", "ranker"):
            value = full(type(value), backend=True)
        settings[name] = not parameter.default if name == "progress_bar" else value
        assert settings[name] != parameter.default, f"choose another value for {name!r}"
    return kind(**settings)


def settings_of(component: Any) -> dict[str, Any]:
    """The attributes of a component by its parameters' names, and so those of components in it."""
    settings = {name: getattr(component, name) for name in parameters(type(component))}
    if isinstance(settings.get("backend"), KeyedBackend):
        settings["backend"] = settings["backend"].url  # the key is not written
    return {
        name: (type(value), settings_of(value))
        if name in ("text_embedder", "ranker")
        else value.to_dict()
        if name == "document_store"
        else value
        for name, value in settings.items()
    }


@pytest.mark.parametrize("backend", [False, True])
@pytest.mark.parametrize("kind", COMPONENTS)
def test_yaml_keeps_every_parameter_under_the_default_allowlist(kind: type, backend: bool) -> None:
    component = full(kind, backend=backend)
    pipeline = Pipeline()
    pipeline.add_component("it", component)

    text = pipeline.dumps()
    loaded = Pipeline.loads(text)

    again = loaded.get_component("it")
    assert type(again) is kind
    assert settings_of(again) == settings_of(component)
    assert loaded.dumps() == text
    assert "sk-secret" not in text


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


@pytest.mark.parametrize("kind", [Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker])
def test_a_backend_is_read_from_a_file_and_taken_as_it_is(kind: Any) -> None:
    component = kind("m", backend=DeterministicBackend(dim=48))
    data = component.to_dict()
    assert data["init_parameters"]["backend"] == DeterministicBackend(dim=48).to_dict()

    assert kind.from_dict(data).backend == component.backend

    data["init_parameters"]["backend"] = component.backend
    assert kind.from_dict(data).backend is component.backend


def test_an_unknown_backend_in_a_file_is_refused_and_not_imported() -> None:
    data = Qwen3TextEmbedder("m", backend=DeterministicBackend()).to_dict()
    data["init_parameters"]["backend"] = {"type": "haystack.Pipeline"}

    with pytest.raises(InputError, match=r"of the type 'haystack.Pipeline'; known are .*local"):
        Qwen3TextEmbedder.from_dict(data)


def test_a_component_read_from_a_file_gives_the_same_numbers() -> None:
    pipeline = Pipeline()
    pipeline.add_component("it", Qwen3TextEmbedder("m", dim=32, backend=DeterministicBackend()))

    again = Pipeline.loads(pipeline.dumps())

    assert again.run({"it": {"text": "a"}}) == pipeline.run({"it": {"text": "a"}})


def test_haystack_can_change_arguments_while_a_pipeline_is_read() -> None:
    seen = {}

    def change(name: str, kind: type, arguments: dict[str, Any]) -> None:
        seen.update(arguments)
        arguments["dtype"] = "float16"

    pipeline = Pipeline()
    pipeline.add_component("it", Qwen3TextEmbedder("m", dtype="bfloat16"))

    again: Any = Pipeline.loads(pipeline.dumps(), callbacks=DeserializationCallbacks(change))

    assert seen["dtype"] == "bfloat16"
    assert again.get_component("it").dtype == "float16"


@pytest.mark.parametrize(
    ("kind", "model_class", "without"),
    [
        (Qwen3TextEmbedder, Qwen3Embedder, {"document_prefix"}),
        (Qwen3DocumentEmbedder, Qwen3Embedder, {"instruction", "query_template"}),
        (Qwen3Ranker, Qwen3Reranker, set()),
    ],
)
def test_components_have_every_argument_of_the_core(
    kind: type, model_class: type, without: set[str]
) -> None:
    core = dict(inspect.signature(model_class).parameters)
    theirs = parameters(kind)

    assert core.keys() - theirs.keys() == without
    for name in core.keys() & theirs.keys() - {"token"}:
        assert theirs[name].default == core[name].default, name


def test_a_new_option_of_the_core_is_one_of_every_component() -> None:
    pytest.importorskip("torch")
    code = """
from typing import Annotated
from qwen3_rag.integration import (
    LocalOptions, adapter_options, arguments_of, local_options
)

LocalOptions.__annotations__["threads"] = Annotated[int | None, "How many threads."]
local_options.cache_clear()
adapter_options.cache_clear()

import pydoc
from haystack import Pipeline
from haystack_integrations.components.embedders.qwen3_rag import (
    Qwen3DocumentEmbedder, Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker

for kind in (Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker):
    pipeline = Pipeline()
    pipeline.add_component("it", kind("tiny", threads=3))
    again = Pipeline.loads(pipeline.dumps()).get_component("it")
    shown = "threads: How many threads." in pydoc.render_doc(kind)
    print(again.threads, arguments_of(again.get_model())["threads"], shown)
"""

    assert run_python(code).splitlines() == ["3 3 True"] * 3


def test_arguments_reach_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hf_mine")
    component = full(Qwen3Ranker)

    arguments = arguments_of(component.get_model())

    names = inspect.signature(Qwen3Reranker).parameters.keys() - {"backend"}
    expected = {name: getattr(component, name) for name in names}
    assert arguments == {**expected, "token": "hf_mine", "device": ("cuda:0", "cuda:1")}
    component.close()


def test_a_device_that_was_left_open_staysget_model() -> None:
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


def test_the_token_of_an_embedder_is_never_written() -> None:
    component = Qwen3TextEmbedder.from_embedder(Qwen3Embedder("tiny", token="hf_secret"))

    with pytest.raises(ValueError, match="Cannot serialize token-based secret") as caught:
        component.to_dict()

    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize("make", [Qwen3TextEmbedder, Qwen3DocumentEmbedder])
def test_a_model_that_the_caller_loaded_is_not_written(
    make: type[Qwen3TextEmbedder], loaded_embedder: Qwen3Embedder
) -> None:
    pipeline = Pipeline()
    pipeline.add_component("it", make.from_embedder(loaded_embedder))

    with pytest.raises(
        SerializationError, match=rf"{make.__name__} cannot be saved: .*Save it to a folder"
    ):
        pipeline.dumps()


def test_a_retriever_with_a_model_that_the_caller_loaded_is_not_written(
    loaded_embedder: Qwen3Embedder,
) -> None:
    retriever = Qwen3HybridRetriever(
        InMemoryDocumentStore(), Qwen3TextEmbedder.from_embedder(loaded_embedder)
    )

    with pytest.raises(SerializationError, match="This Qwen3TextEmbedder cannot be saved"):
        retriever.to_dict()


def test_components_made_from_models_on_a_backend_are_written() -> None:
    embedder = Qwen3Embedder("m", dim=32, instruction="Find laws", backend=TextBackend())
    reranker = Qwen3Reranker("m", max_query_tokens=9, backend=TextBackend())
    components: list[Any] = [
        Qwen3TextEmbedder.from_embedder(embedder),
        Qwen3DocumentEmbedder.from_embedder(embedder, meta_fields_to_embed=["title"]),
        Qwen3Ranker.from_reranker(reranker, top_k=3),
    ]

    for component in components:
        again = type(component).from_dict(component.to_dict())
        assert settings_of(again) == settings_of(component)


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


def test_the_bm25_embedders_need_no_arguments() -> None:
    pipeline = Pipeline()
    pipeline.add_component("query", BM25SparseTextEmbedder())
    pipeline.add_component("documents", BM25SparseDocumentEmbedder())

    assert Pipeline.loads(pipeline.dumps()).dumps() == pipeline.dumps()
