"""Both adapters' fields: declared, checked, handed to the door, and kept by every kind of copy."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, loads
from pydantic import SecretStr, ValidationError

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank
from qwen3_rag import (
    BackendError,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
)
from qwen3_rag_testkit.backends import DeterministicBackend

# LangChain says so of `loads` on every call.
pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")

SHARED: dict[str, Any] = {
    "instruction": "Find the paragraph\nthat answers 你好",
    "max_length": 512,
    "revision": "main",
    "device": ("cpu", "cpu:0"),
    "dtype": "float32",
    "attention": "eager",
    "batch_tokens": 2_048,
    "compile": True,
    "cache_folder": "cache",
    "local_files_only": True,
    "token": SecretStr("hf_secret"),
    "model_kwargs": {"use_cache": False, "lc": [1, {"lc": 1}]},
}
EVERY: dict[type, dict[str, Any]] = {
    Qwen3Embeddings: {"model": "some/embedder", "dim": 48, **SHARED},
    Qwen3Rerank: {
        "model": "some/reranker",
        "top_n": 3,
        "score_type": "logit",
        "max_query_tokens": 64,
        "max_document_tokens": 256,
        **SHARED,
    },
}
DOORS: dict[type, Any] = {Qwen3Embeddings: Qwen3Embedder, Qwen3Rerank: Qwen3Reranker}
OWN = {"top_n", "score_type"}

both = pytest.mark.parametrize("kind", [Qwen3Embeddings, Qwen3Rerank])
Kind = type[Qwen3Embeddings] | type[Qwen3Rerank]


def load(text: str, kind: Kind, **settings: Any) -> Any:
    return loads(text, allowed_objects=[kind], valid_namespaces=["langchain_qwen3_rag"], **settings)


def make(kind: Kind, **settings: Any) -> Any:
    """Make one from whatever a caller may try."""
    return kind(**settings)


def use(adapter: Any) -> list[float]:
    if isinstance(adapter, Qwen3Embeddings):
        return adapter.embed_query("a question")
    assert isinstance(adapter, Qwen3Rerank)
    return adapter.score([("a question", "an answer")])


def door_of(adapter: Any) -> Any:
    return adapter.embedder if isinstance(adapter, Qwen3Embeddings) else adapter.reranker


def from_door(kind: Kind, **settings: Any) -> Any:
    if kind is Qwen3Embeddings:
        return Qwen3Embeddings.from_embedder(Qwen3Embedder("my/model", **settings))
    return Qwen3Rerank.from_reranker(Qwen3Reranker("my/model", **settings))


def backend_of(kind: Kind) -> DeterministicBackend:
    return DeterministicBackend("embedding" if kind is Qwen3Embeddings else "reranking")


@both
def test_the_fields_are_the_doors_arguments(kind: Kind) -> None:
    arguments = inspect.signature(DOORS[kind].__init__).parameters

    assert set(kind.model_fields) - OWN == set(arguments) - {"self", "backend"}
    for name, field in kind.model_fields.items():
        assert name in OWN or field.default == arguments[name].default, name


@both
def test_every_field_reaches_the_door(kind: Kind) -> None:
    door = door_of(kind(**EVERY[kind]))

    assert set(EVERY[kind]) == set(kind.model_fields)
    expected = {name: value for name, value in EVERY[kind].items() if name not in OWN}
    assert door.settings == {**expected, "token": "hf_secret"}


@both
def test_every_field_survives_dumps_and_loads(kind: Kind) -> None:
    adapter = kind(**EVERY[kind])

    text = dumps(adapter)
    again = load(text, kind, secrets_map={"HF_TOKEN": "hf_secret"})

    for name in kind.model_fields:
        assert getattr(adapter, name) != kind.model_fields[name].default, f"{name} proves nothing"
        assert getattr(again, name) == getattr(adapter, name), name
    assert again == adapter
    assert dumps(again) == text


@both
def test_defaults_survive_dumps_and_loads(kind: Kind) -> None:
    assert load(dumps(kind()), kind) == kind()


@both
def test_the_token_shows_nowhere(kind: Kind) -> None:
    adapter = make(kind, token="hf_secret")

    assert "hf_secret" not in dumps(adapter) + repr(adapter) + str(adapter) + str(dumpd(adapter))
    assert load(dumps(adapter), kind).token is None


@both
def test_pickles_and_copies_keep_every_field(kind: Kind) -> None:
    adapter = kind(**EVERY[kind])

    twins = [pickle.loads(pickle.dumps(adapter)), copy.deepcopy(adapter), copy.copy(adapter)]
    for twin in [*twins, adapter.model_copy()]:
        assert twin == adapter
        assert twin.token.get_secret_value() == "hf_secret"


@both
def test_pickles_and_copies_of_a_used_adapter_hold_no_weights(
    kind: Kind, tiny_embeddings: Qwen3Embeddings, tiny_rerank: Qwen3Rerank
) -> None:
    adapter = tiny_embeddings if kind is Qwen3Embeddings else tiny_rerank
    expected = use(adapter)

    pickled = pickle.dumps(adapter)

    assert len(pickled) < 1_500
    for twin in (pickle.loads(pickled), copy.deepcopy(adapter), copy.copy(adapter)):
        assert twin._door._made is None
        assert twin == adapter
        with twin:
            assert use(twin) == pytest.approx(expected, abs=1e-5)


def test_a_copy_with_another_setting_uses_it(tiny_embeddings: Qwen3Embeddings) -> None:
    assert len(tiny_embeddings.embed_query("a")) > 32

    with tiny_embeddings.model_copy(update={"dim": 32}) as short:
        assert len(short.embed_query("a")) == 32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 16}, "`dim` must be from 32 to 1024, got 16"),
        ({"model": "Qwen/Qwen3-Reranker-0.6B"}, "is a reranker. Open it with Qwen3Reranker"),
        ({"model": ""}, "`model` must be the name or folder of a checkpoint, got ''"),
        ({"instruction": " "}, "`instruction` is empty"),
        ({"max_length": 1}, "`max_length` must be from 64 to 32768, got 1"),
        ({"batch_tokens": 0}, "`batch_tokens` must be at least 1, got 0"),
        ({"device": 3}, "`device` must be a torch device or several, got 3"),
    ],
)
def test_bad_embedding_settings_are_the_cores_own_errors(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Qwen3Embeddings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_n": 0}, "`top_n` must be at least 1, got 0"),
        ({"max_query_tokens": 0}, "`max_query_tokens` must be at least 1"),
        ({"model": "Qwen/Qwen3-Embedding-4B"}, "is an embedding model"),
    ],
)
def test_bad_reranking_settings_are_the_cores_own_errors(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Qwen3Rerank(**settings)


@both
def test_wrong_types_and_unknown_fields_are_refused(kind: Kind) -> None:
    with pytest.raises(InputTypeError, match="torch device"):
        make(kind, device=[])
    with pytest.raises(ValidationError, match=r"encode_kwargs\n.*not permitted"):
        make(kind, encode_kwargs={})
    with pytest.raises(ValidationError, match="dtype"):
        make(kind, dtype="int4")
    with pytest.raises(ValidationError, match="frozen"):
        kind().max_length = 64


@both
def test_torchs_and_pathlibs_objects_become_names(kind: Kind, tmp_path: Path) -> None:
    import torch

    adapter = make(kind, model=tmp_path, device=torch.device("cpu"), dtype=torch.float32)

    assert (adapter.model, adapter.device, adapter.dtype) == (str(tmp_path), "cpu", "float32")
    assert load(dumps(adapter), kind) == adapter


@both
def test_settings_are_not_shared_with_the_caller(kind: Kind) -> None:
    given = {"use_cache": False}
    adapter = kind(model_kwargs=given)

    given["use_cache"] = True

    assert adapter.model_kwargs == {"use_cache": False}


@both
def test_the_door_is_made_once_by_many_threads(kind: Kind) -> None:
    adapter = kind(model="tiny")

    with ThreadPoolExecutor(16) as pool:
        doors = set(pool.map(lambda _: id(door_of(adapter)), range(200)))

    assert len(doors) == 1


@both
def test_after_close_the_next_use_opens_again(kind: Kind) -> None:
    adapter = kind(model="tiny")
    expected = use(adapter)
    first = door_of(adapter)

    adapter.close()
    adapter.close()

    with pytest.raises(BackendError, match="closed"):
        first.warm_up()
    assert use(adapter) == pytest.approx(expected, abs=1e-5)
    adapter.close()


@both
async def test_context_managers_close(kind: Kind) -> None:
    async with kind(model="tiny") as adapter:
        door = door_of(adapter)
    with pytest.raises(BackendError, match="closed"):
        door.warm_up()

    with kind(model="tiny") as adapter:
        door = door_of(adapter)
    with pytest.raises(BackendError, match="closed"):
        door.warm_up()


@both
def test_an_adapter_of_a_named_model_takes_over_every_setting(kind: Kind) -> None:
    settings = {name: value for name, value in EVERY[kind].items() if name not in OWN}
    settings["token"] = "hf_secret"
    own: dict[str, Any] = {}
    if kind is Qwen3Embeddings:
        adapter: Any = Qwen3Embeddings.from_embedder(Qwen3Embedder(**settings))
    else:
        own = {"top_n": 3, "score_type": "logit"}
        adapter = Qwen3Rerank.from_reranker(Qwen3Reranker(**settings), **own)

    assert adapter == kind(**EVERY[kind])
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    assert load(dumps(adapter), kind, secrets_map={"HF_TOKEN": "hf_secret"}) == adapter


@both
def test_an_adapter_of_your_own_model_refuses_to_be_written_down(kind: Kind) -> None:
    adapter = from_door(kind, backend=backend_of(kind), max_length=100)

    assert (adapter.model, adapter.max_length) == ("my/model", 100)
    for write in (dumps, pickle.dumps):
        with pytest.raises(BackendError, match="a model that you opened"):
            write(adapter)
    assert adapter != kind(model="my/model", max_length=100)


@both
def test_an_adapter_of_your_own_model_shares_it_with_copies_and_leaves_it_open(kind: Kind) -> None:
    adapter = from_door(kind, backend=backend_of(kind))
    expected = use(adapter)

    for twin in (copy.copy(adapter), copy.deepcopy(adapter), adapter.model_copy()):
        assert door_of(twin) is door_of(adapter)
        twin.close()
    adapter.close()

    assert use(adapter) == expected


@both
def test_a_loaded_model_handed_to_the_door_is_used_as_it_is(kind: Kind) -> None:
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    import qwen3_rag_tiny as tiny

    if kind is Qwen3Embeddings:
        folder = tiny.embedding_folder()
        model = AutoModel.from_pretrained(folder, dtype="float32")
        door: Any = Qwen3Embedder.from_model(model, AutoTokenizer.from_pretrained(folder))
        adapter: Any = Qwen3Embeddings.from_embedder(door)
    else:
        folder = tiny.reranking_folder()
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
        door = Qwen3Reranker.from_model(model, AutoTokenizer.from_pretrained(folder))
        adapter = Qwen3Rerank.from_reranker(door)

    with kind(model="tiny") as named, door:
        assert use(adapter) == pytest.approx(use(named), abs=1e-5)
    for write in (dumps, pickle.dumps):
        with pytest.raises(BackendError, match="a model that you opened"):
            write(adapter)


def test_without_torch_settings_can_be_made_checked_and_loaded_but_not_used() -> None:
    code = f"""
import sys, warnings
sys.path[:0] = {list(filter(None, sys.path))!r}
warnings.simplefilter("ignore")
sys.modules["torch"] = None
from langchain_core.load import dumps, loads
from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank
from qwen3_rag import InputError, MissingExtraError
for kind, use in (
    (Qwen3Embeddings, lambda one: one.embed_query("a")),
    (Qwen3Rerank, lambda one: one.score([("a", "b")])),
):
    one = kind()
    again = loads(
        dumps(one), allowed_objects=[kind], valid_namespaces=["langchain_qwen3_rag"]
    )
    assert again == one
    try:
        kind(max_length=1)
    except InputError as error:
        print(error)
    try:
        use(again)
    except MissingExtraError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("`max_length` must be from 64 to 32768") == 2
    assert done.stdout.count('pip install "qwen3-rag[local]"') == 2
