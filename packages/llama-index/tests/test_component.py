"""Settings as fields: checked, followed when changed, and handed to the core.

Each test runs for the embedding model and the reranker alike.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseComponent, NodeWithScore, TextNode
from pydantic import ValidationError

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from qwen3_rag import InputError
from qwen3_rag.backends import Backend, BackendSpec, Role
from qwen3_rag.integration import local_options
from qwen3_rag_testkit.backends import CountingBackend, DeterministicBackend

BACKEND = DeterministicBackend(dim=128)
LIVE = {"callback_manager", "rate_limiter", "embeddings_cache"}

KINDS = pytest.mark.parametrize("kind", [Qwen3Embedding, Qwen3Rerank])


def tiny(kind: Any, **fields: Any) -> Any:
    return kind(**{kind.model_field: "tiny"}, **fields)


def core(kind: Any, **settings: Any) -> Any:
    """The core's model with a backend of the tests."""
    return kind.model_class("mine", backend=DeterministicBackend(), **settings)


def fields_of(component: Any) -> dict[str, Any]:
    """All fields but LlamaIndex's live objects, which are equal to themselves alone."""
    return {name: getattr(component, name) for name in set(type(component).model_fields) - LIVE}


def use(component: BaseComponent) -> object:
    """What the model says to one query and one text."""
    if isinstance(component, Qwen3Embedding):
        return component.get_query_embedding("what"), component.get_text_embedding("this")
    assert isinstance(component, Qwen3Rerank)
    nodes = [NodeWithScore(node=TextNode(text="this"))]
    return component.postprocess_nodes(nodes, query_str="what")[0].score


@KINDS
def test_every_argument_of_the_core_is_a_field(kind: Any) -> None:
    # A cache is given as `backend=Cached(...)`.
    parameters = set(inspect.signature(kind.model_class).parameters) - {"model", "cache"}

    assert parameters <= set(kind.model_fields)


@KINDS
def test_local_options_are_the_core_s_declaration(kind: Any) -> None:
    shown = inspect.signature(kind).parameters

    for name, option in local_options().items():
        assert kind.model_fields[name].default == option.default == shown[name].default
        assert str(kind.model_fields[name].description).startswith(option.doc)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Qwen3Embedding, {"dim": 32}),
        (Qwen3Embedding, {"instruction": "Find code"}),
        (Qwen3Embedding, {"max_length": 110}),
        (Qwen3Rerank, {"instruction": "Find code"}),
        (Qwen3Rerank, {"max_length": 110}),
        (Qwen3Rerank, {"max_query_tokens": 2}),
        (Qwen3Rerank, {"max_document_tokens": 2}),
    ],
)
def test_every_argument_reaches_the_core(kind: Any, given: dict[str, Any]) -> None:
    text = "a longer text than the limit " * 10

    def say(model: Any) -> object:
        if kind is Qwen3Embedding:
            return model.embed_queries([text])[0].tolist()
        return model.rank(text, [text])[0].score

    component = kind(backend=DeterministicBackend(), **given)
    if kind is Qwen3Embedding:
        said: object = component.get_query_embedding(text)
    else:
        nodes = [NodeWithScore(node=TextNode(text=text))]
        said = component.postprocess_nodes(nodes, query_str=text)[0].score

    assert said == say(core(kind, **given)) != say(core(kind))


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
    with pytest.raises(ValidationError, match=r"query_words\n  Extra inputs"):
        kind(query_words="Find code")
    with pytest.raises(ValueError, match="no attribute"):
        kind().query_words = "Find code"


@KINDS
def test_misspelt_fields_are_named_with_the_nearest_one(kind: Any) -> None:
    with pytest.raises(ValidationError, match=r"'devise'\. Did you mean 'device'"):
        kind(devise="cpu")
    with pytest.raises(ValidationError, match=r"'cache_dir'\. Did you mean 'cache_folder'"):
        kind.from_dict({**kind().to_dict(), "cache_dir": "here"})


@KINDS
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("base_url", "is called `api_base`"),
        ("query_instruction", "it is called `instruction`"),
        ("show_progress", "from_documents"),
        ("threshold", "SimilarityPostprocessor"),
    ],
)
def test_names_of_other_classes_are_explained(kind: Any, name: str, hint: str) -> None:
    with pytest.raises(ValidationError, match=rf"{kind.__name__} has no field '{name}': .*{hint}"):
        kind(**{name: "x"})


def test_misspelt_options_are_errors_to_type_checkers_too() -> None:
    with pytest.raises(ValidationError, match="dtyp"):
        Qwen3Embedding(model_name="tiny", dim=64, dtyp="float32")  # type: ignore[call-arg]  # that is the point
    with pytest.raises(ValidationError, match="dtype"):
        Qwen3Rerank(model="tiny", top_n=3, dtype="float31")  # type: ignore[arg-type]  # that is the point
    assert Qwen3Embedding(model_name="tiny", dtype="float32", token="x", device="cpu").dim is None


def test_the_embedding_model_can_be_given_by_the_core_s_name() -> None:
    assert Qwen3Embedding(model="tiny").model_name == "tiny"
    with pytest.raises(ValidationError, match="`model` is another name of `model_name`"):
        Qwen3Embedding(model="tiny", model_name="tiny")


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
def test_a_changed_field_counts_from_the_next_use(kind: Any) -> None:
    component = tiny(kind)
    before = use(component)
    component.instruction = "Find code"
    changed = use(component)

    assert changed != before
    assert use(tiny(kind, instruction="Find code")) == changed
    assert use(component.model_copy(update={"instruction": tiny(kind).instruction})) == before
    component.backend = DeterministicBackend()
    assert use(component) == use(kind(backend=DeterministicBackend(), instruction="Find code"))
    component.backend = None
    assert use(component) == changed
    component.close()


@KINDS
def test_a_wrong_value_is_refused_when_assigned_and_changes_nothing(kind: Any) -> None:
    component = tiny(kind)
    before = use(component)

    with pytest.raises(ValidationError, match="valid string"):
        component.instruction = 5
    with pytest.raises(InputError, match="`instruction` is empty"):
        component.instruction = " "
    with pytest.raises(InputError, match="`max_length` must be from 64"):
        component.max_length = 5

    assert fields_of(component) == fields_of(tiny(kind))
    assert use(component) == before
    component.close()


@KINDS
def test_model_kwargs_changed_in_place_count_too(kind: Any) -> None:
    given = {"attn_implementation": "sdpa"}
    component = tiny(kind, model_kwargs=given)
    before = use(component)

    given["no_such_argument"] = "x"  # the caller's own
    assert use(component) == before
    component.model_kwargs["no_such_argument"] = "x"
    with pytest.raises(InputError, match="no_such_argument"):
        use(component)
    del component.model_kwargs["no_such_argument"]
    assert use(component) == before
    component.close()


@KINDS
def test_the_model_is_made_once_for_all_uses(kind: Any) -> None:
    backend = CountingBackend(kind.__name__)
    component = kind(backend=backend)
    use(component)
    started = backend.uses.starts

    use(component)
    component.callback_manager = CallbackManager()
    if kind is Qwen3Rerank:
        component.top_n = 1
    else:
        component.embed_batch_size = 2
    use(component)

    assert backend.uses.starts == started
    component.close()
    use(component)
    assert backend.uses.starts == started + 1


@KINDS
@pytest.mark.parametrize("option", [{"dtype": "float32"}, {"token": "x"}, {"compile": True}])
def test_a_backend_and_local_options_exclude_each_other(kind: Any, option: dict[str, Any]) -> None:
    [(name, value)] = option.items()
    message = f"`{name}` cannot be combined with `backend`"

    with pytest.raises(InputError, match=message):
        kind(backend=BACKEND, **option)
    with pytest.raises(InputError, match=message):
        kind.from_dict(kind(**option).to_dict(), backend=BACKEND.to_dict(), **option)
    component = kind(backend=BACKEND)
    with pytest.raises(InputError, match=message):
        setattr(component, name, value)
    other = kind(**option)
    with pytest.raises(InputError, match=message):
        other.backend = BACKEND
    assert fields_of(component) == fields_of(kind(backend=BACKEND))
    assert fields_of(other) == fields_of(kind(**option))
    assert kind(backend=BACKEND, **{name: local_options()[name].default})  # as `to_dict` has it


@KINDS
def test_a_backend_that_cannot_be_started_changes_nothing(kind: Any) -> None:
    class Broken(BackendSpec):
        def start(self, model: str, role: Role) -> Backend:
            raise RuntimeError("no server")

    component = kind(backend=BACKEND)

    with pytest.raises(RuntimeError, match="no server"):
        component.backend = Broken()

    assert component.backend == BACKEND
    use(component)


@KINDS
def test_a_backend_is_a_specification_or_its_dictionary(kind: Any) -> None:
    assert kind(backend=BACKEND.to_dict()).backend == BACKEND
    with pytest.raises(ValidationError, match="instance of BackendSpec"):
        kind(backend="http://localhost:8000")
    with pytest.raises(ValidationError, match="of the type 'no-such-kind'"):
        kind(backend={"type": "no-such-kind"})
