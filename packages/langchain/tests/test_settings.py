"""Both adapters' fields: checked, handed to the core's models, and kept by every kind of copy."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, loads
from pydantic import SecretStr, ValidationError

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank
from qwen3_rag import (
    DEFAULT_INSTRUCTION,
    BackendError,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
)
from qwen3_rag.backends import Backend, Role
from qwen3_rag.integration import adapter_options, arguments_of, local_options
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.imports import run_python

# LangChain says so of `loads` on every call.
pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")

SHARED: dict[str, Any] = {
    "instruction": "Find the paragraph\nthat answers 你好",
    "max_length": 512,
    "cache": "vectors.cache",
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
    Qwen3Embeddings: {
        "model": "some/embedder",
        "dim": 48,
        "query_template": "Task: {instruction}\n{text}",
        "document_prefix": "- ",
        **SHARED,
    },
    Qwen3Rerank: {
        "model": "some/reranker",
        "top_n": 3,
        "min_score": 0.25,
        "score_type": "logit",
        "max_query_tokens": 64,
        "max_document_tokens": 256,
        **SHARED,
    },
}
CORE: dict[type, Any] = {Qwen3Embeddings: Qwen3Embedder, Qwen3Rerank: Qwen3Reranker}
OWN = {"min_score", "top_n", "score_type"}
# Fields of a model on a server; see test_server.py.
SERVER = {"base_url", "api_key", *adapter_options()} - set(local_options())

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


def model_of(adapter: Any) -> Any:
    return adapter.embedder if isinstance(adapter, Qwen3Embeddings) else adapter.reranker


def around(model: Any, **own: Any) -> Any:
    if isinstance(model, Qwen3Embedder):
        return Qwen3Embeddings.from_embedder(model, **own)
    return Qwen3Rerank.from_reranker(model, **own)


def loaded_model(kind: Kind) -> Any:
    """A model of transformers' behind the core's class."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    import qwen3_rag_tiny as tiny

    if kind is Qwen3Embeddings:
        folder = tiny.embedding_folder()
        model = AutoModel.from_pretrained(folder, dtype="float32")
        return Qwen3Embedder.from_model(model, AutoTokenizer.from_pretrained(folder))
    folder = tiny.reranking_folder()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return Qwen3Reranker.from_model(model, AutoTokenizer.from_pretrained(folder))


@both
def test_the_fields_are_the_arguments_of_the_cores_class(kind: Kind) -> None:
    arguments = inspect.signature(CORE[kind].__init__).parameters

    assert set(kind.model_fields) - OWN - SERVER == set(arguments) - {"self"}
    for name in set(kind.model_fields) - OWN - SERVER:
        assert kind.model_fields[name].default == arguments[name].default, name


@both
def test_help_shows_every_field_and_what_options_do(kind: Kind) -> None:
    shown = inspect.signature(kind).parameters

    assert set(shown) == set(kind.model_fields)
    assert next(iter(shown)) == "model"
    for name, option in adapter_options().items():
        assert shown[name].default == option.default
        assert kind.model_fields[name].description == option.doc
    assert set(kind.model_json_schema()["properties"]) == set(kind.model_fields)


@both
def test_every_field_reaches_the_cores_model(kind: Kind) -> None:
    model = model_of(kind(**EVERY[kind]))

    assert set(EVERY[kind]) == set(kind.model_fields) - {"backend"} - SERVER
    expected = {name: value for name, value in EVERY[kind].items() if name not in OWN}
    assert arguments_of(model) == {**expected, "token": "hf_secret"}


@both
def test_every_field_survives_dumps_and_loads(kind: Kind) -> None:
    adapter = kind(**EVERY[kind])

    text = dumps(adapter)
    again = load(text, kind, secrets_map={"HF_TOKEN": "hf_secret"})

    for name in EVERY[kind]:
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
        assert twin == adapter
        with twin:
            assert model_of(twin) is not model_of(adapter)
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
    with pytest.raises(InputTypeError, match="`model` must be the name or folder"):
        make(kind, model=3)
    with pytest.raises(ValidationError, match=r"strange\n.*not permitted"):
        make(kind, strange={})
    with pytest.raises(ValidationError, match=r"no field 'encode_kwargs': .*`dim`"):
        make(kind, encode_kwargs={})
    with pytest.raises(ValidationError, match=r"no field 'show_progress': .*progress=True"):
        make(kind, show_progress=True)
    with pytest.raises(ValidationError, match=r"no field 'threshold': .*`min_score`"):
        make(kind, threshold=0.5)
    with pytest.raises(ValidationError, match=r"no field 'devise'\. Did you mean 'device'"):
        make(kind, devise="cpu")
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
def test_errors_do_not_show_a_token(kind: Kind) -> None:
    adapter = kind()
    mistakes: list[Callable[[], Any]] = [
        lambda: make(kind, token=["hf_secret"]),
        lambda: make(kind, tokens="hf_secret"),
        lambda: setattr(adapter, "token", "hf_secret"),
    ]

    for mistake in mistakes:
        with pytest.raises(ValidationError) as caught:
            mistake()
        assert "hf_secret" not in str(caught.value)
    assert adapter == kind()


@both
def test_the_model_is_made_once_by_many_threads(kind: Kind) -> None:
    adapter = kind(model="tiny")

    with ThreadPoolExecutor(16) as pool:
        models = set(pool.map(lambda _: id(model_of(adapter)), range(200)))

    assert len(models) == 1


@both
def test_after_close_the_next_use_opens_again(kind: Kind) -> None:
    adapter = kind(model="tiny")
    expected = use(adapter)
    first = model_of(adapter)

    adapter.close()
    adapter.close()

    with pytest.raises(BackendError, match="closed"):
        first.warm_up()
    assert use(adapter) == pytest.approx(expected, abs=1e-5)
    adapter.close()


@both
async def test_context_managers_close(kind: Kind) -> None:
    async with kind(model="tiny") as adapter:
        model = model_of(adapter)
    with pytest.raises(BackendError, match="closed"):
        model.warm_up()

    with kind(model="tiny") as adapter:
        model = model_of(adapter)
    with pytest.raises(BackendError, match="closed"):
        model.warm_up()


@both
def test_an_adapter_around_a_model_has_all_of_its_arguments(kind: Kind) -> None:
    arguments = {name: value for name, value in EVERY[kind].items() if name not in OWN}
    arguments["token"] = "hf_secret"
    own = {} if kind is Qwen3Embeddings else {"top_n": 3, "min_score": 0.25, "score_type": "logit"}

    adapter = around(CORE[kind](**arguments), **own)

    assert adapter == kind(**EVERY[kind])
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    assert load(dumps(adapter), kind, secrets_map={"HF_TOKEN": "hf_secret"}) == adapter


@both
def test_an_adapter_around_a_closed_model_is_refused(kind: Kind) -> None:
    model = CORE[kind]("tiny")
    model.close()

    with pytest.raises(BackendError, match=r"was closed\. Open a new Qwen3"):
        around(model)


@both
def test_closing_an_adapter_leaves_the_model_it_was_made_around_open(kind: Kind) -> None:
    with CORE[kind]("my/model", backend=DeterministicBackend()) as model:
        with around(model) as adapter:
            expected = use(adapter)

        assert use(around(model)) == expected
        assert model.warm_up().model
    assert use(adapter) == expected


@both
def test_a_backend_survives_everything_that_keeps_settings(kind: Kind) -> None:
    backend = DeterministicBackend(dim=48)
    adapter = kind(model="my/model", backend=backend, max_length=100)
    expected = use(adapter)

    written = dumps(adapter)
    twins = {
        "dumps": load(written, kind),
        "dump": kind(**adapter.model_dump()),
        "dictionary": kind(model="my/model", backend=backend.to_dict(), max_length=100),
        "pickle": pickle.loads(pickle.dumps(adapter)),
        "copy": copy.copy(adapter),
        "deepcopy": copy.deepcopy(adapter),
        "model_copy": adapter.model_copy(),
        "around": around(model_of(adapter)),
    }

    for name, twin in twins.items():
        assert twin == adapter, name
        assert twin.backend == backend, name
        assert use(twin) == expected, name
    assert json.loads(written)["kwargs"]["backend"] == {
        "type": "testkit-deterministic",
        "role": None,
        "dim": 48,
    }
    assert adapter != kind(model="my/model", max_length=100)
    assert adapter != adapter.model_copy(update={"backend": DeterministicBackend(dim=49)})


@dataclass(frozen=True)
class Server(TextBackend, kind="langchain-tests-server"):
    """A backend with a secret."""

    key: str = field(default="", repr=False)

    def start(self, model: str, role: Role) -> Backend:
        assert self.key == "key_secret"
        return super().start(model, role)

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().to_dict().items() if name != "key"}


@both
def test_a_backends_secret_is_used_and_not_written(kind: Kind) -> None:
    with kind(model="my/model", backend=Server(key="key_secret")) as adapter:
        assert use(adapter)

        shown = dumps(adapter) + repr(adapter) + str(adapter) + str(adapter.model_dump())
    assert "key_secret" not in shown
    assert "langchain-tests-server" in shown


@both
def test_options_of_the_local_engine_beside_a_backend_are_refused(kind: Kind) -> None:
    backend = DeterministicBackend()

    for name in local_options():
        with pytest.raises(InputError, match=f"`{name}` cannot be combined with `backend`"):
            make(kind, backend=backend, **{name: EVERY[kind][name]})
    written = {**json.loads(dumps(kind(backend=backend)))}
    written["kwargs"]["device"] = "cpu"
    with pytest.raises(InputError, match="`device` cannot be combined with `backend`"):
        load(json.dumps(written), kind)
    # Written-out defaults are no options.
    assert make(kind, backend=backend, device=None, compile=False) == kind(backend=backend)


@both
def test_what_is_no_backend_is_refused(kind: Kind) -> None:
    with pytest.raises(InputError, match="`backend` is of the type 'unknown'; known are"):
        make(kind, backend={"type": "unknown"})
    with pytest.raises(InputError, match="cannot be read"):
        make(kind, backend={"type": "testkit-deterministic", "size": 3})
    with pytest.raises(ValidationError, match=r"backend\n.*instance of BackendSpec"):
        make(kind, backend="http://localhost:8000")


@both
def test_an_adapter_around_a_loaded_model_runs_it_and_refuses_to_be_written_down(
    kind: Kind,
) -> None:
    with loaded_model(kind) as model:
        adapter = around(model)
        same = around(model)

    assert adapter == same
    assert adapter != around(loaded_model(kind))
    with kind(model="tiny") as named:
        expected = use(named)
    for twin in (adapter, copy.copy(adapter), copy.deepcopy(adapter), adapter.model_copy()):
        assert twin == adapter
        with twin:
            assert use(twin) == pytest.approx(expected, abs=1e-5)
    for write in (dumps, dumpd, pickle.dumps):
        with pytest.raises(BackendError, match="Save it to a folder and open that instead"):
            write(adapter)


# Written before the options became a declaration of the core's, and `backend` a field.
FORMER_EMBEDDINGS = (
    '{"lc": 1, "type": "constructor", "id": ["langchain_qwen3_rag", "embeddings", '
    '"Qwen3Embeddings"], "kwargs": {"model": "some/embedder", "instruction": "Find code", '
    '"max_length": 512, "revision": "main", "device": ["cpu", "cpu:0"], "dtype": "float32", '
    '"attention": "eager", "batch_tokens": 2048, "compile": true, "cache_folder": "cache", '
    '"local_files_only": true, "token": {"lc": 1, "type": "secret", "id": ["HF_TOKEN"]}, '
    '"model_kwargs": {"use_cache": false}, "dim": 48}}'
)
FORMER_RERANK = (
    '{"lc": 1, "type": "constructor", "id": ["langchain_qwen3_rag", "rerank", "Qwen3Rerank"], '
    '"kwargs": {"model": "tiny", "instruction": "Given a web search query, retrieve relevant '
    'passages that answer the query", "device": "cpu", "top_n": 2, "score_type": "logit", '
    '"max_query_tokens": 64}}'
)


def test_what_earlier_versions_wrote_is_loaded() -> None:
    assert load(
        FORMER_EMBEDDINGS, Qwen3Embeddings, secrets_map={"HF_TOKEN": "hf_secret"}
    ) == Qwen3Embeddings(
        model="some/embedder",
        dim=48,
        instruction="Find code",
        max_length=512,
        revision="main",
        device=("cpu", "cpu:0"),
        dtype="float32",
        attention="eager",
        batch_tokens=2048,
        compile=True,
        cache_folder="cache",
        local_files_only=True,
        token="hf_secret",
        model_kwargs={"use_cache": False},
    )
    assert load(FORMER_RERANK, Qwen3Rerank) == Qwen3Rerank(
        model="tiny",
        instruction=DEFAULT_INSTRUCTION,
        device="cpu",
        top_n=2,
        score_type="logit",
        max_query_tokens=64,
    )


def test_without_torch_settings_can_be_made_checked_and_loaded_but_not_used() -> None:
    code = """
import warnings
warnings.simplefilter("ignore")
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
    printed = run_python(code, absent=["torch"])

    assert printed.count("`max_length` must be from 64 to 32768") == 2
    assert printed.count('pip install "qwen3-rag[local]"') == 2


def test_type_checkers_know_the_constructors(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    right = """
import torch
from pathlib import Path
from pydantic import SecretStr
from langchain_qwen3_rag import BM25SparseEmbeddings, Qwen3Embeddings, Qwen3Rerank

Qwen3Embeddings(model=Path("folder"), dim=64, device="cpu", dtype="float32", token="hf_a")
Qwen3Embeddings(device=torch.device("cpu"), token=SecretStr("hf_a"))
Qwen3Rerank(device=[torch.device("cpu"), "cuda:1"], top_n=3, compile=True)
Qwen3Rerank(backend={"type": "local"}, score_type="logit")
Qwen3Rerank(base_url="http://localhost:8000", api_key="k", api="vllm", cache=Path("kept"))
Qwen3Embeddings(base_url="http://localhost:8000", api_key=SecretStr("k"), timeout=5)
BM25SparseEmbeddings(k1=1.5)
"""
    wrong = [
        'Qwen3Embeddings(devise="cpu")',
        'Qwen3Rerank(devise="cpu")',
        "Qwen3Embeddings(device=3)",
        'Qwen3Embeddings(dtype="int4")',
        "Qwen3Embeddings(top_n=3)",
        "Qwen3Rerank(dim=64)",
        "BM25SparseEmbeddings(k=1.5)",
    ]
    snippet = tmp_path / "snippet.py"
    snippet.write_text(right + "\n".join(wrong) + "\n")
    root = Path(__file__).parents[3]

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", root / "pyproject.toml", snippet],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    complained = re.findall(r"^.*snippet\.py:(\d+): error", done.stdout, re.M)
    first = right.count("\n") + 1
    assert complained == [str(first + number) for number in range(len(wrong))], done.stdout
