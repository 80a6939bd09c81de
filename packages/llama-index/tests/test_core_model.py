"""Adapters made of a core model, whose backend they share.

Each test runs for the embedding model and the reranker alike.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from llama_index.core.schema import BaseComponent, NodeWithScore, TextNode
from pydantic_core import PydanticSerializationError

from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from qwen3_rag import BackendError, InputError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import resolve_checkpoint
from qwen3_rag_testkit.backends import DeterministicBackend

KINDS = pytest.mark.parametrize("kind", [Qwen3Embedding, Qwen3Rerank])


def core(kind: Any, **settings: Any) -> Any:
    """The core's model with a backend of the tests."""
    return kind.model_class("mine", backend=DeterministicBackend(), **settings)


def around(kind: Any, model: Any, **fields: Any) -> Any:
    """An adapter made of a core model."""
    make = kind.from_embedder if kind is Qwen3Embedding else kind.from_reranker
    return make(model, **fields)


def loaded(kind: Any, **settings: Any) -> Any:
    """A core model around a transformers model that the caller loaded."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_checkpoint("tiny", kind.model_class.role).folder
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return kind.model_class.from_model(model, AutoTokenizer.from_pretrained(folder), **settings)


def use(component: BaseComponent) -> object:
    """What the model says to one query and one text."""
    if isinstance(component, Qwen3Embedding):
        return component.get_query_embedding("what"), component.get_text_embedding("this")
    assert isinstance(component, Qwen3Rerank)
    nodes = [NodeWithScore(node=TextNode(text="this"))]
    return component.postprocess_nodes(nodes, query_str="what")[0].score


def ask(model: Qwen3Embedder | Qwen3Reranker) -> object:
    """What the core's model says to the same."""
    if isinstance(model, Qwen3Embedder):
        return (
            model.embed_queries(["what"])[0].tolist(),
            model.embed_documents(["this"])[0].tolist(),
        )
    return model.rank("what", ["this"])[0].score


@KINDS
def test_from_a_core_model_takes_over_its_backend(kind: Any) -> None:
    model = core(kind, instruction="Find code", max_length=512)

    component = around(kind, model)

    assert (component.instruction, component.max_length) == ("Find code", 512)
    assert getattr(component, kind.model_field) == "mine"
    assert use(component) == ask(model)
    assert use(kind.from_dict(component.to_dict())) == ask(model)
    assert around(kind, model, instruction="Find text").instruction == "Find text"


@KINDS
def test_an_adapter_and_the_model_it_was_made_of_close_apart(kind: Any) -> None:
    model = core(kind)
    component = around(kind, model)
    expected = use(component)

    component.close()
    assert ask(model) == expected
    model.close()
    assert use(component) == expected
    with pytest.raises(BackendError, match="was closed"):
        around(kind, model)


@KINDS
def test_a_loaded_model_is_used_and_copied_but_leaves_the_process_in_no_form(kind: Any) -> None:
    model = loaded(kind)
    component = around(kind, model)
    expected = use(component)

    assert expected == ask(model)
    assert use(copy.deepcopy(component)) == use(component.model_copy()) == expected
    with pytest.raises(BackendError, match="Save it to a folder"):
        pickle.dumps(component)
    with pytest.raises(PydanticSerializationError, match="Save it to a folder"):
        component.model_dump()
    with pytest.raises(InputError, match="around a model that was already open"):
        kind.from_dict(component.to_dict())
    assert component.to_dict()["given_model"] == model.warm_up().fingerprint
    assert use(component) == expected  # and is none the worse for it
    component.instruction = "Find code"
    assert use(component) == ask(loaded(kind, instruction="Find code")) != expected
    component.close()
    model.close()
