"""The model behind an adapter: one at a time, and never in a copy or a pickle."""

from __future__ import annotations

import copy
import importlib.util
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from qwen3_rag import BackendError, InputError, Qwen3Embedder
from qwen3_rag.integration import LazyModel, arguments_of, check_arguments
from qwen3_rag_testkit.backends import DeterministicBackend

ARGUMENTS: dict[str, Any] = {"model": "my/model", "dim": 64}


def make() -> Qwen3Embedder:
    return Qwen3Embedder(**ARGUMENTS)


def get_any(lazy: LazyModel[Qwen3Embedder]) -> Qwen3Embedder:
    return lazy.get(make)


def get_for(lazy: LazyModel[Qwen3Embedder]) -> Qwen3Embedder:
    return lazy.get_for(Qwen3Embedder, ARGUMENTS)


Get = Callable[[LazyModel[Qwen3Embedder]], Qwen3Embedder]


@pytest.mark.parametrize("get", [get_any, get_for])
def test_a_model_is_made_at_first_use_and_kept(get: Get) -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    made_before = lazy.is_made

    model = get(lazy)

    assert (made_before, lazy.is_made) == (False, True)
    assert arguments_of(model) == arguments_of(make())
    assert get(lazy) is model


def make_stand_in() -> Qwen3Embedder:
    return Qwen3Embedder("my/model", backend=DeterministicBackend())


def _in_child(lazy: LazyModel[Qwen3Embedder], connection: Any) -> None:
    lazy.close()
    connection.send(lazy.get(make_stand_in).model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_a_thread_makes_the_model_makes_its_own() -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    making, forked = threading.Event(), threading.Event()

    def make_slowly() -> Qwen3Embedder:
        making.set()
        forked.wait()
        return make_stand_in()

    first = threading.Thread(target=lazy.get, args=(make_slowly,))
    first.start()
    making.wait()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_in_child, args=(lazy, there), daemon=True)
    child.start()
    forked.set()
    first.join()

    answered = here.poll(30)
    child.kill()
    child.join()

    assert answered, "the child hangs"
    assert here.recv() == "my/model"


@pytest.mark.parametrize("get", [get_any, get_for])
def test_threads_that_come_first_together_share_one_model(get: Get) -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    gate = threading.Barrier(8)

    def first_use(_: int) -> Qwen3Embedder:
        gate.wait()
        return get(lazy)

    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(first_use, range(8)))

    assert len({id(model) for model in models}) == 1


def test_other_arguments_make_another_model_and_leave_the_first_to_its_users() -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    first = lazy.get_for(Qwen3Embedder, ARGUMENTS)

    second = lazy.get_for(Qwen3Embedder, {**ARGUMENTS, "dim": 32})

    assert (first.dim, second.dim) == (64, 32)
    assert arguments_of(first)["dim"] == 64  # it is not closed


def test_arguments_that_are_changed_in_place_make_another_model() -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    arguments = dict(ARGUMENTS)
    first = lazy.get_for(Qwen3Embedder, arguments)

    arguments["dim"] = 32

    assert lazy.get_for(Qwen3Embedder, arguments) is not first


def test_a_closed_model_is_made_anew() -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    first = lazy.get(make)

    lazy.close()
    lazy.close()

    assert not lazy.is_made
    with pytest.raises(BackendError, match="closed"):
        first.warm_up()
    assert lazy.get(make) is not first


def test_arguments_that_are_refused_leave_the_last_model() -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    model = lazy.get_for(Qwen3Embedder, ARGUMENTS)

    with pytest.raises(InputError, match="`dim` must be at least 1"):
        lazy.get_for(Qwen3Embedder, {**ARGUMENTS, "dim": 0})

    assert lazy.get_for(Qwen3Embedder, ARGUMENTS) is model


def test_copies_and_pickles_are_equal_and_start_empty() -> None:
    lazy: LazyModel[Qwen3Embedder] = LazyModel()
    model = lazy.get_for(Qwen3Embedder, {**ARGUMENTS, "token": "hf_secret"})

    assert b"hf_secret" not in pickle.dumps(lazy)
    for twin in (copy.copy(lazy), copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert twin == lazy
        assert not twin.is_made
        assert twin.get(make) is not model
        twin.close()
    assert arguments_of(model)["token"] == "hf_secret"  # closing a copy leaves it open


def test_arguments_are_checked_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)

    check_arguments(Qwen3Embedder, ARGUMENTS)
    for wrong in ({"dim": 0}, {"device": 3}, {"model": "Qwen/Qwen3-Reranker-4B"}):
        with pytest.raises(InputError):
            check_arguments(Qwen3Embedder, {**ARGUMENTS, **wrong})
