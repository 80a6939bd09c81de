"""What makes a model object: options or a backend, their equal twins, pickles and subclasses."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import (
    BackendError,
    InputError,
    InputTypeError,
    ModelError,
    Qwen3Embedder,
    Qwen3Reranker,
)
from qwen3_rag.backends import BackendSpec
from qwen3_rag.integration import arguments_of, local_options
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend

SHARED: dict[str, Any] = {
    "model": "my/model",
    "instruction": "Find code",
    "max_length": 512,
    "revision": "v2",
    "device": ("cpu", "cpu:0"),
    "dtype": "float32",
    "attention": "eager",
    "batch_tokens": 1_000,
    "compile": True,
    "cache_folder": "elsewhere",
    "local_files_only": True,
    "token": "hf_secret",
    "model_kwargs": {"use_cache": False},
    "cache": "kept.db",
}
EVERY: dict[Any, dict[str, Any]] = {
    Qwen3Embedder: {
        **SHARED,
        "dim": 64,
        "query_template": "Task: {instruction}\n{text}",
        "document_prefix": "- ",
    },
    Qwen3Reranker: {**SHARED, "max_query_tokens": 50, "max_document_tokens": 100},
}

BOTH = pytest.mark.parametrize("kind", [Qwen3Embedder, Qwen3Reranker])


def own_defaults(kind: Any) -> dict[str, Any]:
    """The defaults of a class that hold for every backend."""
    parameters = inspect.signature(kind).parameters.values()
    left_out = {"backend", "cache", *local_options()}
    return {each.name: each.default for each in parameters if each.name not in left_out}


# ------------------------------------------------------------------ the arguments of an equal model


@BOTH
def test_arguments_are_every_argument_that_was_given(kind: Any) -> None:
    model = kind(**EVERY[kind])

    assert arguments_of(model) == EVERY[kind]
    assert arguments_of(model).keys() == inspect.signature(kind).parameters.keys() - {"backend"}


@BOTH
def test_options_that_were_not_given_are_left_out(kind: Any) -> None:
    assert arguments_of(kind()) == own_defaults(kind)


@BOTH
def test_arguments_make_an_equal_model(kind: Any) -> None:
    model = kind(**EVERY[kind])

    assert arguments_of(kind(**arguments_of(model))) == EVERY[kind]
    for twin in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert arguments_of(twin) == EVERY[kind]


@BOTH
def test_objects_of_torch_and_pathlib_become_plain_values(kind: Any) -> None:
    import torch

    model = kind(Path("folder"), device=torch.device("cpu"), dtype=torch.float32)

    plain = {"model": "folder", "device": "cpu", "dtype": "float32"}
    assert arguments_of(model) == {**own_defaults(kind), **plain}


@BOTH
def test_changing_the_arguments_changes_no_model(kind: Any) -> None:
    model = kind(**EVERY[kind])

    arguments_of(model)["model_kwargs"].clear()

    assert arguments_of(model) == EVERY[kind]


@BOTH
def test_changing_what_was_given_changes_no_model(kind: Any) -> None:
    given: dict[str, Any] = {"use_cache": False}
    model = kind("my/model", model_kwargs=given)

    given.clear()

    assert arguments_of(model)["model_kwargs"] == {"use_cache": False}


@BOTH
def test_a_token_is_among_the_arguments_and_in_no_repr(kind: Any) -> None:
    model = kind(**EVERY[kind])

    assert arguments_of(model)["token"] == "hf_secret"
    assert "hf_secret" not in repr(model)


@BOTH
def test_arguments_follow_the_attributes(kind: Any) -> None:
    model = kind("my/model")
    model.instruction = "Find laws"

    assert arguments_of(model)["instruction"] == "Find laws"


@BOTH
def test_a_closed_model_has_no_arguments(kind: Any) -> None:
    with kind("my/model") as model:
        assert arguments_of(model)["model"] == "my/model"

    with pytest.raises(BackendError, match=f"was closed. Open a new {kind.__name__}"):
        arguments_of(model)


@BOTH
async def test_an_async_with_gives_the_model_and_closes_it(kind: Any) -> None:
    async with kind("my/model") as model:
        assert arguments_of(model)["model"] == "my/model"

    with pytest.raises(BackendError, match="was closed"):
        arguments_of(model)


@BOTH
def test_a_subclass_has_the_arguments_of_its_base(kind: Any) -> None:
    class Own(kind):  # type: ignore[misc]  # its base is a parameter
        """Adds a method."""

    assert arguments_of(Own(**EVERY[kind])) == EVERY[kind]


# ------------------------------------------------------------------ a backend instead of options


@BOTH
def test_a_backend_is_among_the_arguments_instead_of_options(kind: Any) -> None:
    backend = DeterministicBackend()

    model = kind("my/model", max_length=100, backend=backend)

    expected = {**own_defaults(kind), "model": "my/model", "max_length": 100, "backend": backend}
    assert arguments_of(model) == expected
    assert arguments_of(kind(**arguments_of(model))) == expected
    assert arguments_of(pickle.loads(pickle.dumps(model))) == expected


@BOTH
@pytest.mark.parametrize("name", ["device", "dtype", "compile", "token", "batch_tokens"])
def test_a_backend_together_with_a_local_option_is_refused(kind: Any, name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}` cannot be combined with `backend`") as caught:
        kind("any", backend=DeterministicBackend(), **{name: SHARED[name]})

    assert "hf_secret" not in str(caught.value)


@BOTH
def test_something_else_than_a_backend_is_refused(kind: Any) -> None:
    running = DeterministicBackend().start("any", kind.role)

    for wrong in (running, "http://server", DeterministicBackend):
        with pytest.raises(InputTypeError, match="`backend` must be a `BackendSpec`"):
            kind("any", backend=wrong)


@BOTH
def test_a_backend_is_started_with_the_model_and_the_role(kind: Any) -> None:
    class Recording(DeterministicBackend):
        def start(self, model: str, role: Any) -> Any:
            started.append((model, role))
            return super().start(model, role)

    started: list[tuple[str, str]] = []

    kind("my/model", backend=Recording())

    assert started == [("my/model", kind.role)]


def test_a_backend_of_another_role_is_refused_at_first_use() -> None:
    with pytest.raises(ModelError, match="is a reranker"):
        Qwen3Embedder("any", backend=DeterministicBackend("reranking")).warm_up()


# ------------------------------------------------------------------ specifications


def test_a_specification_comes_back_from_plain_values() -> None:
    for spec in (DeterministicBackend("embedding", 32), TextBackend()):
        data = json.loads(json.dumps(spec.to_dict()))

        assert BackendSpec.from_dict(data) == spec


def test_a_subclass_comes_back_as_itself() -> None:
    class Mine(DeterministicBackend, kind="test-mine"):
        """Has a name of its own in files."""

    class Unnamed(DeterministicBackend):
        """Is named by its module and class."""

    for spec in (Mine(dim=8), Unnamed(dim=8)):
        again = BackendSpec.from_dict(spec.to_dict())
        assert type(again) is type(spec)
        assert again == spec
    assert Mine().to_dict()["type"] == "test-mine"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"type": "nobody.knows"}, "'nobody.knows'; known are .*testkit-deterministic"),
        ({}, "of the type None"),
        ({"type": "testkit-deterministic", "colour": "red"}, "cannot be read: .*colour"),
        ({"type": "local", "colour": "red"}, "There is no option 'colour'"),
        ({"type": "local", "compile": "no"}, "'local' cannot be read: `compile` must be True"),
        ({"type": "local", "batch_tokens": 0}, "'local' cannot be read: `batch_tokens` must be at"),
        ({"type": "caller-model"}, "of the type .caller-model."),
        ({"type": ["local"]}, "of the type .'local'.; known are"),
        ("local", "the dictionary that `to_dict` gave, got str"),
        (None, "the dictionary that `to_dict` gave, got NoneType"),
    ],
)
def test_plain_values_that_no_specification_gave_are_refused(data: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        BackendSpec.from_dict(data)


def test_a_secret_field_is_in_no_message_and_no_file() -> None:
    @dataclass(frozen=True)
    class Keyed(DeterministicBackend, kind="test-keyed"):
        url: str = "http://server"
        key: str = field(default="", repr=False)

    spec = Keyed(key="hunter2")

    data = spec.to_dict()
    assert data["url"] == "http://server"
    assert "key" not in data
    assert BackendSpec.from_dict(data) == Keyed()
    with pytest.raises(InputError, match="http://server") as caught:
        Qwen3Embedder("any", backend=spec, device="cpu")
    assert "hunter2" not in str(caught.value)


def test_a_class_with_slots_keeps_its_kind() -> None:
    @dataclass(frozen=True, slots=True)
    class Slotted(BackendSpec, kind="test-slotted"):
        url: str = ""

        def start(self, model: str, role: Any) -> Any:
            return DeterministicBackend(role).start(model, role)

    assert Slotted("a").to_dict() == {"type": "test-slotted", "url": "a"}
    assert BackendSpec.from_dict({"type": "test-slotted", "url": "a"}) == Slotted("a")


def test_a_kind_that_another_class_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"kind 'local' of .*Evil belongs to .*Local, .*another"):

        class Evil(DeterministicBackend, kind="local"):
            """Would be read in place of the local engine."""

    assert type(BackendSpec.from_dict({"type": "local"})).__name__ == "Local"


def test_a_specification_that_is_no_dataclass_has_no_plain_values() -> None:
    class Plain(BackendSpec):
        def start(self, model: str, role: Any) -> Any:
            return DeterministicBackend(role).start(model, role)

    assert Qwen3Embedder("any", backend=Plain()).embed_queries(["a"]).shape == (1, 64)
    with pytest.raises(InputTypeError, match=r"Plain is no dataclass.*Decorate it"):
        Plain().to_dict()


# ------------------------------------------------------------------ a model of the caller's


@BOTH
def test_a_callers_model_is_shared_by_copies_and_kept_out_of_pickles(kind: Any) -> None:
    objects = object(), object()
    model = kind.from_model(*objects, max_length=100)

    spec = arguments_of(model)["backend"]
    assert arguments_of(model)["max_length"] == 100
    for twin in (copy.copy(spec), copy.deepcopy(spec)):
        assert twin == spec
    assert arguments_of(copy.deepcopy(model))["backend"] == spec
    for refused in (lambda: pickle.dumps(model), lambda: pickle.dumps(spec), spec.to_dict):
        with pytest.raises(BackendError, match=r"model that you loaded.*Save it to a folder"):
            refused()
    assert spec != arguments_of(kind.from_model(*objects))["backend"]
