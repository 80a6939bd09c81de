"""`Qwen3Ranker`: what a pipeline gets for candidates."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
from haystack import Document
from haystack.utils import Secret

from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from qwen3_rag import InputError, Qwen3Reranker
from qwen3_rag.integration import arguments_of
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking

QUERY = "what is the capital\nof France"


def texts(result: dict[str, Any]) -> list[str]:
    return [document.content for document in result["documents"]]


def test_scores_and_order_are_the_cores_bit_for_bit(reranker: Qwen3Reranker) -> None:
    component = Qwen3Ranker.from_reranker(reranker, top_k=None)

    ranked = component.run(QUERY, [Document(content=text) for text in TEXTS])["documents"]

    assert [(document.content, document.score) for document in ranked] == [
        (hit.document, hit.score) for hit in reranker.rank(QUERY, TEXTS)
    ]
    assert all(type(document.score) is float for document in ranked)


def test_scores_are_the_cores_on_a_trained_model(documents: list[Document]) -> None:
    contents = [document.content or "" for document in documents]
    with Qwen3Reranker("tiny") as reranker:
        expected = reranker.rank(QUERY, contents)

    component = Qwen3Ranker("tiny", top_k=None)
    ranked = component.run(QUERY, documents)["documents"]

    assert [document.content for document in ranked] == [hit.document for hit in expected]
    assert [document.score for document in ranked] == pytest.approx(
        [hit.score for hit in expected], abs=1e-5
    )
    component.close()


def test_scores_are_log_odds_if_wanted(reranker: Qwen3Reranker, documents: list[Document]) -> None:
    by_call = Qwen3Ranker.from_reranker(reranker).run(QUERY, documents, scale_score=False)
    by_component = Qwen3Ranker.from_reranker(reranker, scale_score=False).run(QUERY, documents)

    expected = reranker.rank(QUERY, [document.content or "" for document in documents])
    assert by_call == by_component
    assert [document.score for document in by_call["documents"]] == [hit.logit for hit in expected]
    assert any(not 0 <= hit.logit <= 1 for hit in expected)


def test_a_call_can_ask_for_probabilities_again(
    reranker: Qwen3Reranker, documents: list[Document]
) -> None:
    component = Qwen3Ranker.from_reranker(reranker, scale_score=False)

    ranked = component.run(QUERY, documents, scale_score=True)["documents"]

    assert all(0 <= document.score <= 1 for document in ranked)


def test_the_instruction_of_component_and_call_is_read(
    reranker: Qwen3Reranker, documents: list[Document]
) -> None:
    own = Qwen3Reranker("m/r", instruction="Find laws", backend=DeterministicBackend("reranking"))
    component = Qwen3Ranker.from_reranker(own)
    plain = Qwen3Ranker.from_reranker(reranker)

    assert component.run(QUERY, documents) == plain.run(QUERY, documents, instruction="Find laws")
    assert component.run(QUERY, documents) != plain.run(QUERY, documents)


def test_top_k_keeps_the_best(reranker: Qwen3Reranker) -> None:
    candidates = [Document(content=f"text {number}") for number in range(12)]
    everything = texts(Qwen3Ranker.from_reranker(reranker, top_k=None).run(QUERY, candidates))
    component = Qwen3Ranker.from_reranker(reranker, top_k=3)

    assert len(everything) == 12
    assert texts(Qwen3Ranker.from_reranker(reranker).run(QUERY, candidates)) == everything[:10]
    assert texts(component.run(QUERY, candidates)) == everything[:3]
    assert texts(component.run(QUERY, candidates, top_k=5)) == everything[:5]
    assert texts(component.run(QUERY, candidates, top_k=99)) == everything


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(reranker: Qwen3Reranker, top_k: int) -> None:
    with pytest.raises(ValueError, match="`top_k` must be at least 1"):
        Qwen3Ranker(top_k=top_k)
    with pytest.raises(ValueError, match="`top_k` must be at least 1"):
        Qwen3Ranker.from_reranker(reranker).run(QUERY, [Document(content="a")], top_k=top_k)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_threshold_is_on_the_scale_of_the_score(
    reranker: Qwen3Reranker, documents: list[Document], scaled: bool
) -> None:
    component = Qwen3Ranker.from_reranker(reranker, scale_score=scaled)
    ranked = component.run(QUERY, documents)["documents"]
    second = ranked[1].score
    strict = Qwen3Ranker.from_reranker(reranker, scale_score=scaled, score_threshold=second)

    assert strict.run(QUERY, documents)["documents"] == ranked[:2]
    assert component.run(QUERY, documents, score_threshold=second)["documents"] == ranked[:2]


def test_a_threshold_of_zero_counts(reranker: Qwen3Reranker, documents: list[Document]) -> None:
    strict = Qwen3Ranker.from_reranker(reranker, score_threshold=1.1)

    assert strict.run(QUERY, documents)["documents"] == []
    assert len(strict.run(QUERY, documents, score_threshold=0.0)["documents"]) == len(documents)
    logits = strict.run(QUERY, documents, score_threshold=0.0, scale_score=False)["documents"]
    assert 0 < len(logits) < len(documents)
    assert all(document.score >= 0 for document in logits)


def test_a_threshold_must_be_a_number(reranker: Qwen3Reranker) -> None:
    with pytest.raises(InputError, match="`score_threshold` must be a number"):
        Qwen3Ranker(score_threshold="0.5")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match="`score_threshold` must be a number"):
        Qwen3Ranker.from_reranker(reranker).run(QUERY, [], score_threshold="0.5")  # type: ignore[arg-type]  # what is tested


def test_of_several_with_one_id_the_best_is_ranked(reranker: Qwen3Reranker) -> None:
    candidates = [
        Document(id="one", content="worse", score=0.1),
        Document(id="two", content="other"),
        Document(id="one", content="better", score=0.9),
        Document(id="one", content="unscored"),
        Document(id="two", content="later"),
    ]

    ranked = Qwen3Ranker.from_reranker(reranker).run(QUERY, candidates)["documents"]

    assert {document.id: document.content for document in ranked} == {
        "one": "better",
        "two": "other",
    }
    assert len(ranked) == 2


def test_ties_keep_the_order_given(reranker: Qwen3Reranker) -> None:
    candidates = [Document(id=name, content="same text") for name in "dbca"]

    ranked = Qwen3Ranker.from_reranker(reranker).run(QUERY, candidates)["documents"]

    assert [document.id for document in ranked] == list("dbca")


def test_metadata_goes_before_the_content(reranker: Qwen3Reranker) -> None:
    component = Qwen3Ranker.from_reranker(
        reranker, meta_fields_to_embed=["page", "none"], embedding_separator=": "
    )
    candidate = Document(content="Paris", meta={"page": 0, "none": None})

    [ranked] = component.run(QUERY, [candidate])["documents"]

    assert [ranked.score] == reranker.score([(QUERY, "0: Paris")])
    assert ranked.content == "Paris"


def test_documents_are_copied_and_otherwise_kept(
    reranker: Qwen3Reranker, documents: list[Document]
) -> None:
    before = copy.deepcopy(documents)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Haystack warns of changes in place
        ranked = Qwen3Ranker.from_reranker(reranker).run(QUERY, documents)["documents"]

    assert documents == before
    old = {document.id: document for document in documents}
    assert {document.id for document in ranked} == set(old)
    for new in ranked:
        assert new is not old[new.id]
        assert (new.content, new.meta) == (old[new.id].content, old[new.id].meta)


def test_no_documents_need_no_model() -> None:
    assert Qwen3Ranker("/nowhere").run(QUERY, []) == {"documents": []}


async def test_async_is_sync(reranker: Qwen3Reranker, documents: list[Document]) -> None:
    component = Qwen3Ranker.from_reranker(reranker)
    settings: dict[str, Any] = {
        "top_k": 2,
        "score_threshold": -3.0,
        "scale_score": False,
        "instruction": "Find laws",
    }

    assert await component.run_async(QUERY, documents) == component.run(QUERY, documents)
    assert await component.run_async(QUERY, documents, **settings) == component.run(
        QUERY, documents, **settings
    )
    assert await component.run_async(QUERY, []) == {"documents": []}


async def test_the_event_loop_keeps_ticking(documents: list[Document]) -> None:
    component = Qwen3Ranker("m", backend=SlowBackend())

    await keeps_ticking(component.run_async(QUERY, documents))

    component.close()


def test_anything_but_documents_is_refused(reranker: Qwen3Reranker) -> None:
    with pytest.raises(TypeError, match=r"got a list with str.*qwen3_rag\.Qwen3Reranker"):
        Qwen3Ranker.from_reranker(reranker).run(QUERY, ["a text"])  # type: ignore[list-item]  # what is tested


def test_a_blank_query_is_refused_even_for_no_documents(reranker: Qwen3Reranker) -> None:
    with pytest.raises(InputError, match="empty or only white space"):
        Qwen3Ranker.from_reranker(reranker).run(" ", [])


def test_a_component_has_the_arguments_of_the_reranker_it_was_made_from() -> None:
    arguments: dict[str, Any] = {
        "instruction": "Find laws",
        "max_length": 512,
        "max_query_tokens": 20,
        "max_document_tokens": 300,
    }
    on_a_backend = Qwen3Reranker("m/r", backend=DeterministicBackend(), **arguments)
    local = Qwen3Reranker("m/r", dtype="float32", device=["cpu"], token="hf_secret", **arguments)

    first, second = Qwen3Ranker.from_reranker(on_a_backend), Qwen3Ranker.from_reranker(local)

    for component in (first, second):
        assert component.model == "m/r"
        assert {name: getattr(component, name) for name in arguments} == arguments
    assert first.backend == DeterministicBackend()
    assert (second.backend, second.device) == (None, ["cpu"])
    assert second.token == Secret.from_token("hf_secret")
    assert arguments_of(second.get_model()) == arguments_of(local)


@pytest.mark.parametrize("name", ["max_length", "max_query_tokens", "max_document_tokens"])
def test_a_wrong_limit_is_refused_at_once(name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}` must be"):
        Qwen3Ranker(**{name: 0})  # type: ignore[arg-type]  # each in turn


def test_copies_and_pickles_work_and_hold_no_weights(documents: list[Document]) -> None:
    component = Qwen3Ranker("tiny")
    expected = component.run(QUERY, documents)

    pickled = pickle.dumps(component)
    twins = [pickle.loads(pickled), copy.deepcopy(component)]

    assert len(pickled) < 20_000
    for twin in twins:
        assert twin.run(QUERY, documents) == expected
        twin.close()
    component.close()
