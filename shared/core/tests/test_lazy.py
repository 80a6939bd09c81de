"""The door behind an adapter: one at a time, and never in a copy or a pickle."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from qwen3_rag import BackendError, InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag._lazy import LazyDoor, check_settings, settings_of
from qwen3_rag_testkit.backends import DeterministicBackend

SETTINGS: dict[str, Any] = {"model": "my/model", "dim": 64}


def given(settings: dict[str, Any] | None = None) -> LazyDoor[Qwen3Embedder]:
    door = Qwen3Embedder("mine", backend=DeterministicBackend("embedding"))
    return LazyDoor(door, settings)


def test_a_door_is_made_of_the_settings_and_kept() -> None:
    lazy: LazyDoor[Qwen3Embedder] = LazyDoor()

    door = lazy.open(Qwen3Embedder, SETTINGS)

    assert door.settings == Qwen3Embedder(**SETTINGS).settings
    assert lazy.open(Qwen3Embedder, dict(SETTINGS)) is door


def test_threads_that_come_first_together_share_one_door() -> None:
    lazy: LazyDoor[Qwen3Embedder] = LazyDoor()
    gate = threading.Barrier(8)

    def first_use(_: int) -> Qwen3Embedder:
        gate.wait()
        return lazy.open(Qwen3Embedder, SETTINGS)

    with ThreadPoolExecutor(8) as pool:
        doors = list(pool.map(first_use, range(8)))

    assert len({id(door) for door in doors}) == 1


def test_other_settings_make_another_door_and_leave_the_first_to_its_users() -> None:
    lazy: LazyDoor[Qwen3Embedder] = LazyDoor()
    first = lazy.open(Qwen3Embedder, SETTINGS)

    second = lazy.open(Qwen3Embedder, {**SETTINGS, "dim": 32})

    assert (first.dim, second.dim) == (64, 32)
    assert first.settings is not None


def test_a_made_door_is_closed_and_made_anew() -> None:
    lazy: LazyDoor[Qwen3Embedder] = LazyDoor()
    first = lazy.open(Qwen3Embedder, SETTINGS)

    lazy.close()
    lazy.close()

    with pytest.raises(BackendError, match="closed"):
        first.warm_up()
    assert lazy.open(Qwen3Embedder, SETTINGS) is not first


def test_a_setting_the_door_refuses_leaves_the_last_one() -> None:
    lazy: LazyDoor[Qwen3Embedder] = LazyDoor()
    door = lazy.open(Qwen3Embedder, SETTINGS)

    with pytest.raises(InputError, match="`dim` must be at least 1"):
        lazy.open(Qwen3Embedder, {**SETTINGS, "dim": 0})

    assert lazy.open(Qwen3Embedder, SETTINGS) is door


def test_a_given_door_is_used_and_never_closed() -> None:
    lazy = given()

    lazy.close()

    door = lazy.open(Qwen3Embedder, SETTINGS)
    assert door is lazy.given is lazy.open(Qwen3Embedder, {**SETTINGS, "dim": 32})
    assert len(door.embed_documents(["a"])) == 1


def test_a_given_door_keeps_to_the_settings_it_goes_by() -> None:
    lazy = given({"dim": 64, "token": "hf_secret"})

    assert lazy.open(Qwen3Embedder, {"dim": 64, "token": "hf_secret"}) is lazy.given
    for again in (lazy, copy.copy(lazy), copy.deepcopy(lazy)):
        with pytest.raises(InputError, match="changed on the adapter: dim, token") as caught:
            again.open(Qwen3Embedder, {"dim": 32, "token": "hf_other"})
        assert "hf_" not in str(caught.value)


def test_copies_and_pickles_leave_a_made_door_behind() -> None:
    lazy: LazyDoor[Qwen3Embedder] = LazyDoor()
    door = lazy.open(Qwen3Embedder, {**SETTINGS, "token": "hf_secret"})

    assert b"hf_secret" not in pickle.dumps(lazy)
    for twin in (copy.copy(lazy), copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert twin == lazy
        assert twin.open(Qwen3Embedder, SETTINGS) is not door
        twin.close()
    assert door.settings is not None


def test_copies_share_a_given_door_and_pickles_refuse_it() -> None:
    lazy = given()

    for twin in (copy.copy(lazy), copy.deepcopy(lazy)):
        assert twin == lazy != LazyDoor()
        assert twin.given is lazy.given
    with pytest.raises(BackendError, match=r"a model that you opened.*Save the model to a folder"):
        pickle.dumps(lazy)


@pytest.mark.parametrize("kind", [Qwen3Embedder, Qwen3Reranker])
def test_settings_are_the_attributes_named_like_them(kind: Any) -> None:
    adapter = SimpleNamespace(model="my/model", max_length=64, top_n=3)

    assert settings_of(adapter, kind) == {"model": "my/model", "max_length": 64}


def test_settings_are_checked_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)

    check_settings(Qwen3Embedder, SETTINGS)
    for wrong in ({"dim": 0}, {"device": 3}, {"model": "Qwen/Qwen3-Reranker-4B"}):
        with pytest.raises(InputError):
            check_settings(Qwen3Embedder, {**SETTINGS, **wrong})
