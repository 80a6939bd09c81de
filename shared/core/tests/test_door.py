"""Which settings open a door anew, and which doors none does."""

from __future__ import annotations

import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag._model import Door
from qwen3_rag_testkit.backends import DeterministicBackend

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
    "model_kwargs": {"variant": "b"},
}
EVERY: dict[type[Door], dict[str, Any]] = {
    Qwen3Embedder: {**SHARED, "dim": 64},
    Qwen3Reranker: {**SHARED, "max_query_tokens": 50, "max_document_tokens": 100},
}

BOTH = pytest.mark.parametrize("kind", [Qwen3Embedder, Qwen3Reranker])


def defaults(kind: Any) -> dict[str, Any]:
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.name != "backend"}


@BOTH
def test_settings_are_every_argument_as_it_was_given(kind: Any) -> None:
    door = kind(**EVERY[kind])

    assert door.settings == EVERY[kind]
    assert door.settings.keys() == defaults(kind).keys()
    assert all(EVERY[kind][name] != value for name, value in defaults(kind).items())


@BOTH
def test_settings_of_a_bare_door_are_the_defaults(kind: Any) -> None:
    assert kind().settings == defaults(kind)


@BOTH
def test_settings_open_an_equal_door(kind: Any) -> None:
    door = kind(**EVERY[kind])

    assert type(door)(**door.settings).settings == door.settings
    assert pickle.loads(pickle.dumps(door)).settings == door.settings


@BOTH
def test_objects_of_torch_and_pathlib_are_named_in_settings(kind: Any) -> None:
    import torch

    door = kind(Path("folder"), device=torch.device("cpu"), dtype=torch.float32)

    named = {"model": "folder", "device": "cpu", "dtype": "float32"}
    assert door.settings == {**defaults(kind), **named}


@BOTH
def test_changing_settings_changes_no_door(kind: Any) -> None:
    door = kind(**EVERY[kind])

    door.settings["model_kwargs"].clear()
    door.settings.clear()

    assert door.settings == EVERY[kind]


@BOTH
def test_a_token_is_in_settings_and_in_no_repr(kind: Any) -> None:
    settings = kind(**EVERY[kind]).settings

    assert "hf_secret" not in f"{settings!r} {settings} {pickle.loads(pickle.dumps(settings))}"
    assert f"Bearer {settings['token']}" == "Bearer hf_secret"
    assert json.loads(json.dumps(settings))["token"] == "hf_secret"


@BOTH
def test_the_text_side_of_settings_follows_the_door(kind: Any) -> None:
    door = kind("my/model")
    door.instruction = "Find laws"

    assert door.settings["instruction"] == "Find laws"


@BOTH
def test_no_settings_name_a_backend_of_your_own(kind: Any) -> None:
    door = kind("my/model", max_length=100, backend=DeterministicBackend(kind.role))

    assert door.settings is None
    assert door.own_settings["model"] == "my/model"
    assert door.own_settings["max_length"] == 100


@BOTH
def test_no_settings_name_a_model_that_was_handed_over(kind: Any) -> None:
    door = kind.from_model(object(), object(), max_length=100)

    assert door.settings is None
    assert door.own_settings["max_length"] == 100
    door.close()
    assert door.settings is None


@BOTH
def test_no_settings_name_a_class_of_your_own(kind: Any) -> None:
    class Own(kind):  # type: ignore[misc]  # its base is a parameter
        """Has other arguments, for all that is known."""

    assert Own("my/model").settings is None
    assert Own("my/model").own_settings == kind("my/model").own_settings


@BOTH
def test_no_settings_name_what_was_closed(kind: Any) -> None:
    with kind("my/model") as door:
        assert door.settings is not None

    assert door.settings is None
