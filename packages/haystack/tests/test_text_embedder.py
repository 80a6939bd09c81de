"""`Qwen3TextEmbedder`: what a pipeline gets for a query."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Timer
from typing import Any

import numpy as np
import pytest
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.components.embedders.qwen3_rag import (
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from qwen3_rag import BackendError, InputError, InputTypeError, Qwen3Embedder
from qwen3_rag.backends import Backend, Capabilities, Role
from qwen3_rag.integration import arguments_of
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking


@dataclass(frozen=True)
class SlowToOpen(SlowBackend, kind="haystack-tests-slow-to-open"):
    """A backend that takes its time to open, too."""

    def start(self, model: str, role: Role) -> Backend:
        running = super().start(model, role)
        opened = running.open()
        late: Future[Capabilities] = Future()
        Timer(self.seconds, lambda: late.set_result(opened.result())).start()
        running.open = lambda: late  # type: ignore[method-assign]  # of this one
        return running


def test_vectors_are_the_cores_bit_for_bit(embedder: Qwen3Embedder) -> None:
    component = Qwen3TextEmbedder.from_embedder(embedder)

    for text in TEXTS:
        if text.strip():
            [expected] = embedder.embed_queries([text])
            embedding = component.run(text)["embedding"]
            assert embedding == expected.tolist()
            assert all(type(number) is float for number in embedding)


def test_vectors_are_the_cores_on_a_trained_model() -> None:
    text = "What is the capital\nof France?"
    with Qwen3Embedder("tiny", dim=64) as embedder:
        [expected] = embedder.embed_queries([text])

    component = Qwen3TextEmbedder("tiny", dim=64)

    np.testing.assert_allclose(component.run(text)["embedding"], expected, atol=1e-5)
    component.close()


def test_the_instruction_of_component_and_call_is_read(embedder: Qwen3Embedder) -> None:
    own = Qwen3Embedder(
        "test/embedder", instruction="Find code", backend=DeterministicBackend("embedding")
    )
    component = Qwen3TextEmbedder.from_embedder(own)

    [code] = embedder.embed_queries(["sort"], instruction="Find code")
    [law] = embedder.embed_queries(["sort"], instruction="Find laws")

    assert component.instruction == "Find code"
    assert component.run("sort")["embedding"] == code.tolist()
    assert component.run("sort", instruction="Find laws")["embedding"] == law.tolist()
    assert component.run("sort")["embedding"] == code.tolist()


async def test_async_is_sync(embedder: Qwen3Embedder) -> None:
    component = Qwen3TextEmbedder.from_embedder(embedder)

    for instruction in (None, "Find laws"):
        expected = component.run("a query", instruction)
        assert await component.run_async("a query", instruction) == expected


async def test_the_event_loop_keeps_ticking() -> None:
    component = Qwen3TextEmbedder("m", backend=SlowToOpen())

    await keeps_ticking(component.warm_up_async())
    await keeps_ticking(component.run_async("a query"))

    component.close()


def test_documents_are_sent_to_the_other_embedder(embedder: Qwen3Embedder) -> None:
    component = Qwen3TextEmbedder.from_embedder(embedder)

    with pytest.raises(TypeError, match=r"got list.*Qwen3DocumentEmbedder"):
        component.run(["a query"])  # type: ignore[arg-type]  # what is tested


def test_a_blank_query_is_refused(embedder: Qwen3Embedder) -> None:
    with pytest.raises(InputError, match="empty or only white space"):
        Qwen3TextEmbedder.from_embedder(embedder).run(" \n")


@pytest.mark.parametrize("kind", [Qwen3TextEmbedder, Qwen3DocumentEmbedder])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "`model` must be"),
        ({"model": "Qwen/Qwen3-Reranker-0.6B"}, "Qwen3Reranker"),
        ({"dim": 16}, "`dim` must be from 32 to 1024"),
        ({"max_length": 3}, "`max_length` must be"),
        ({"batch_tokens": 0}, "`batch_tokens` must be"),
        ({"device": 3}, "`device` must be a torch device"),
        ({"token": "hf_secret"}, "`token` must be a Haystack Secret, got str"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(
    kind: type, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        kind(**settings)

    assert "hf_secret" not in str(caught.value)


def test_a_blank_instruction_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="`instruction` is empty"):
        Qwen3TextEmbedder(instruction=" ")


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="prefix"):
        Qwen3TextEmbedder(prefix="query: ")  # type: ignore[call-arg]  # what is tested


def test_devices_of_haystack_are_taken_by_name() -> None:
    assert Qwen3TextEmbedder(device=ComponentDevice.from_str("cuda:1")).device == "cuda:1"
    assert Qwen3TextEmbedder(device=("cuda:0", "cuda:1")).device == ["cuda:0", "cuda:1"]
    assert Qwen3TextEmbedder().device is None


def test_a_device_map_is_refused() -> None:
    split = ComponentDevice.from_dict({"type": "multiple", "device_map": {"layer": "cpu"}})

    with pytest.raises(InputError, match="must not be a device map"):
        Qwen3TextEmbedder(device=split)


def test_a_model_is_loaded_once_and_again_after_closing() -> None:
    component = Qwen3TextEmbedder("tiny")
    component.warm_up()
    model = component.get_model()

    component.warm_up()
    before = component.run("a query")
    assert component.get_model() is model

    component.close()
    assert component.run("a query") == before
    assert component.get_model() is not model
    with pytest.raises(BackendError, match="was closed"):
        model.embed_queries(["a query"])
    component.close()
    component.close()


async def test_closing_from_an_event_loop_closes_the_model_too() -> None:
    component = Qwen3TextEmbedder("tiny")
    await component.warm_up_async()
    model = component.get_model()

    await component.close_async()

    with pytest.raises(BackendError, match="was closed"):
        model.embed_queries(["a query"])


def test_threads_that_come_first_together_share_one_model() -> None:
    pytest.importorskip("torch")
    component = Qwen3TextEmbedder("tiny")
    gate = threading.Barrier(8)
    models: list[Qwen3Embedder] = []

    def first_use() -> None:
        gate.wait()
        models.append(component.get_model())

    threads = [threading.Thread(target=first_use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(model) for model in models}) == 1
    component.close()


def test_closing_a_component_leaves_the_embedder_it_was_made_from(
    embedder: Qwen3Embedder, loaded_embedder: Qwen3Embedder
) -> None:
    for source in (embedder, loaded_embedder):
        component = Qwen3TextEmbedder.from_embedder(source)
        before = component.run("a query")

        component.close()

        assert source.embed_queries(["a query"]).tolist() == [before["embedding"]]
        assert component.run("a query") == before


def test_a_component_outlives_the_embedder_it_was_made_from(embedder: Qwen3Embedder) -> None:
    component = Qwen3TextEmbedder.from_embedder(embedder)

    embedder.close()

    assert component.run("a query")
    with pytest.raises(BackendError, match="was closed"):
        Qwen3TextEmbedder.from_embedder(embedder)


def test_copies_of_a_component_share_a_model_that_the_caller_loaded_and_no_pickle_holds_it(
    loaded_embedder: Qwen3Embedder,
) -> None:
    component = Qwen3TextEmbedder.from_embedder(loaded_embedder)
    expected = loaded_embedder.embed_queries(["a query"])[0].tolist()

    for twin in (component, copy.copy(component), copy.deepcopy(component)):
        assert twin.run("a query")["embedding"] == expected
    with pytest.raises(BackendError, match="Save it to a folder"):
        pickle.dumps(component)


def test_copies_and_pickles_run_on_the_same_backend() -> None:
    component = Qwen3TextEmbedder("m", dim=32, backend=DeterministicBackend(dim=48))
    expected = component.run("a query")

    for twin in (pickle.loads(pickle.dumps(component)), copy.deepcopy(component)):
        assert twin.backend == DeterministicBackend(dim=48)
        assert twin.run("a query") == expected


@pytest.mark.parametrize("kind", [Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker])
@pytest.mark.parametrize(
    "option",
    [
        {"device": "cpu"},
        {"dtype": "float32"},
        {"compile": True},
        {"token": Secret.from_env_var("MY_TOKEN")},
    ],
)
def test_options_of_the_local_engine_beside_a_backend_are_refused(
    kind: Any, option: dict[str, Any]
) -> None:
    [name] = option

    with pytest.raises(InputError, match=f"`{name}` cannot be combined with `backend`"):
        kind("m", backend=DeterministicBackend(), **option)


@pytest.mark.parametrize("kind", [Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker])
def test_anything_else_is_no_backend(kind: Any) -> None:
    with pytest.raises(InputTypeError, match="`backend` must be a `BackendSpec`"):
        kind("m", backend="http://server")


@pytest.mark.parametrize("kind", [Qwen3TextEmbedder, Qwen3DocumentEmbedder, Qwen3Ranker])
def test_options_are_attributes_and_shown_with_their_documentation(kind: Any) -> None:
    component = kind("tiny", dtype="float32", model_kwargs={"use_cache": False})

    assert (component.dtype, component.compile, component.revision) == ("float32", False, None)
    assert component.model_kwargs == {"use_cache": False}
    shown = inspect.signature(kind.__init__).parameters
    assert shown["dtype"].kind is inspect.Parameter.KEYWORD_ONLY
    assert shown["device"].annotation == "Device"  # Haystack's way, not the core's
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in shown.values())
    assert "dtype: Number format of the weights." in pydoc.render_doc(kind)


def test_a_changed_option_counts_from_the_next_use() -> None:
    component = Qwen3TextEmbedder("tiny")
    assert len(component.run("a query")["embedding"]) > 32

    component.dim = 32

    assert len(component.run("a query")["embedding"]) == 32
    component.close()


def test_a_changed_backend_counts_from_the_next_use() -> None:
    component = Qwen3TextEmbedder("m", backend=DeterministicBackend())

    component.backend = DeterministicBackend(dim=48)

    assert len(component.run("a query")["embedding"]) == 48


def test_something_else_cannot_be_handed_over() -> None:
    with pytest.raises(InputTypeError, match="`embedder` must be a Qwen3Embedder, got 'tiny'"):
        Qwen3TextEmbedder.from_embedder("tiny")  # type: ignore[arg-type]  # what is tested


def test_copies_and_pickles_work_and_hold_no_weights() -> None:
    component = Qwen3TextEmbedder("tiny", instruction="Find laws")
    expected = component.run("a query")

    pickled = pickle.dumps(component)
    twins = [pickle.loads(pickled), copy.deepcopy(component)]

    assert len(pickled) < 20_000
    for twin in twins:
        assert twin.run("a query") == expected
        twin.close()
    assert component.run("a query") == expected
    component.close()


def test_a_token_from_the_environment_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("HF_API_TOKEN", raising=False)
    component = Qwen3TextEmbedder("tiny")
    component.warm_up()

    assert b"hf_secret" not in pickle.dumps(component)
    component.close()


def test_a_token_is_not_shown() -> None:
    component = Qwen3TextEmbedder("tiny", token=Secret.from_token("hf_secret"))

    assert "hf_secret" not in f"{component!r} {component} {vars(component)}"


def test_a_token_is_read_when_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_API_TOKEN", raising=False)
    component = Qwen3TextEmbedder("tiny")
    strict = Qwen3TextEmbedder("tiny", token=Secret.from_env_var("HF_TOKEN"))

    with pytest.raises(ValueError, match="HF_TOKEN"):
        strict.run("a query")
    assert component.run("a query")

    monkeypatch.setenv("HF_TOKEN", "hf_later")
    assert arguments_of(strict.get_model())["token"] == "hf_later"
    component.close()
    strict.close()
